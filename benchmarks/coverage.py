"""Simulate what the 95 % intervals cover, with known truth.

    python benchmarks/coverage.py [--repetitions 300]

Latency: six variants, two of them equal, on a host that is quiet, drifts, has bursts, or changes
between two regimes. Each variant also has errors of its own that stay for some rounds: an
autoregression of a third, or in the regimes a sensitivity of its own to the slow one. The ratio of
every pair is judged after a fixed number of rounds, and after the stopping rule has ended the
measurement ("adaptive": 8 to 40 rounds a variant). The truth of a ratio is that over all states of
the host, so a regime that lasts longer than the measurement could not be covered.

mAP50: two detectors on the same 20 to 500 images, twelve classes of which four lie in one image of
25 to 200. The truth is that of 36,000 images, over the classes that the sample holds. The last
columns are the bias of an estimate and how far from its middle an interval's estimate lies.

Prints Markdown tables. About ten minutes with the default.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np
from scipy import stats

from prunebench.common.records import Interval
from prunebench.common.statistics import Array, Footing, Rounds, of_draws
from prunebench.measuring.latency.rounds import REVISITED_EVERY
from prunebench.measuring.latency.stopping import is_interim_look, judge_pairs, still_open
from prunebench.measuring.map_bootstrap import Detections, Resamples, class_ap

LEVEL = 0.95
TRUE_MS = {"baseline": 10.0, "twin": 10.0, "slim": 9.7, "pruned": 7.0, "half": 5.0, "int8": 4.5}
MOST, FEWEST = 40, 8
OWN = 0.01  # Standard deviation of a variant's own error in a round, on the logarithmic scale.

Host = Callable[[np.random.Generator, int], Array]
"""Errors of log milliseconds, shape (variants, rounds)."""


def own_errors(rng: np.random.Generator, rounds: int, correlation: float = 0.0) -> Array:
    """Each variant's own, from round to round as correlated as asked."""
    found = rng.normal(0, OWN, (len(TRUE_MS), rounds))
    for number in range(1, rounds):
        fresh = math.sqrt(1 - correlation**2) * found[:, number]
        found[:, number] = correlation * found[:, number - 1] + fresh
    return found


def quiet(rng: np.random.Generator, rounds: int) -> Array:
    """Own errors, and 5 % that every variant has alike."""
    return own_errors(rng, rounds) + rng.normal(0, 0.05, rounds)


def drift(rng: np.random.Generator, rounds: int) -> Array:
    """A host that wanders and grows slower by a third, with correlated own errors."""
    common = np.cumsum(rng.normal(0, 0.03, rounds)) + np.linspace(0, 0.3, rounds)
    return own_errors(rng, rounds, 1 / 3) + common


def bursts(rng: np.random.Generator, rounds: int) -> Array:
    """One variant's round in seven slowed by 10 % on average, and one whole round in five by 30."""
    own = own_errors(rng, rounds)
    own += (rng.random(own.shape) < 1 / 7) * rng.exponential(0.1, own.shape)
    return own + (rng.random(rounds) < 0.2) * rng.exponential(0.3, rounds)


def regimes(rng: np.random.Generator, rounds: int) -> Array:
    """A host 40 % slower in half of its time, three rounds in a row on average.

    It slows one variant more than another, by as much as their own errors.
    """
    slow = (rng.random() < 0.5) ^ (np.cumsum(rng.random(rounds) < 1 / 3) % 2 == 1)
    sensitivity = rng.normal(0, OWN, (len(TRUE_MS), 1))
    return own_errors(rng, rounds) + 0.35 * slow + sensitivity * np.where(slow, 1, -1)


HOSTS: dict[str, Host] = {"quiet": quiet, "drift": drift, "bursts": bursts, "regimes": regimes}


def measured(errors: Array, rounds: int | None) -> dict[str, Rounds]:
    """Milliseconds by round, as many as asked or as the measuring's own rule wants."""
    ms = np.array(list(TRUE_MS.values()))[:, None] * np.exp(errors)
    found: dict[str, dict[int, float]] = {name: {} for name in TRUE_MS}
    wanted = set(TRUE_MS)
    for number in range(rounds or MOST):
        if rounds is None and is_interim_look(number, FEWEST):
            keyed = {(name, 1): each for name, each in found.items()}
            pairs = judge_pairs(keyed, list(TRUE_MS), [1], 3.0, None)
            wanted = {name for name, _ in still_open(pairs)}
            if not wanted:
                break
        revisited = (number + 1) % REVISITED_EVERY == 0
        for place, name in enumerate(TRUE_MS):
            if revisited or name in wanted:
                found[name][number] = float(ms[place, number])
    return found


def latency_coverage(
    host: Host, rounds: int | None, repetitions: int, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Share of the ratios covered, their half width in percent, and mean rounds of a variant."""
    covered, widths, counts = [], [], []
    for _ in range(repetitions):
        found = measured(host(rng, MOST), rounds)
        footing = Footing(found)
        counts += [len(each) for each in found.values()]
        for a, b in itertools.combinations(TRUE_MS, 2):
            ratio = footing.ratio(a, b).ratio(LEVEL)
            covered.append(ratio.low <= TRUE_MS[a] / TRUE_MS[b] <= ratio.high)
            widths.append(50 * math.log(ratio.high / ratio.low))
    return float(np.mean(covered)), float(np.mean(widths)), float(np.mean(counts))


PREVALENCE = np.array([0.6, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.06, 0.04, 0.02, 0.01, 0.005])
"""Share of the images that hold each class."""

SKILL = stats.norm.ppf([0.75, 0.95, 0.45, 0.65, 0.5, 0.15, 0.25, 0.8, 0.3, 0.85, 0.55, 0.35])
"""Of the detectors, by class: the normal quantile of the share of objects they find."""


def detectors(rng: np.random.Generator, images: int) -> tuple[Detections, Detections]:
    """Two detectors, the second a little worse, that find the same images hard."""
    counts = (rng.random((images, len(SKILL))) < PREVALENCE) * (
        1 + rng.poisson(0.7, (images, len(SKILL)))
    )
    hard = rng.normal(0, 1, images)
    image, cls = np.nonzero(counts)
    repeats = counts[image, cls]
    image, cls = np.repeat(image, repeats), np.repeat(cls, repeats)
    shared = SKILL[cls] * 1.2 - 0.5 * hard[image] + 0.6 * rng.normal(0, 1, len(image))
    spurious = rng.poisson(0.25 * (PREVALENCE + 0.02) * np.exp(0.3 * hard[:, None]))
    where, of = np.nonzero(spurious)
    repeats = spurious[where, of]
    where, of = np.repeat(where, repeats), np.repeat(of, repeats)
    both = []
    for worse in (0.0, 0.25):
        logit = shared - worse + 0.7 * rng.normal(0, 1, len(image))
        hit, kept = logit > 0, rng.random(len(where)) < 0.8
        scores = np.concatenate(
            (logit[hit] + 0.3 + 0.8 * rng.normal(0, 1, hit.sum()), rng.normal(-0.6, 1, kept.sum()))
        )
        true = np.arange(len(scores)) < hit.sum()
        both.append(
            Detections(
                image=np.concatenate((image[hit], where[kept])),
                confidence=1 / (1 + np.exp(-scores)),
                cls=np.concatenate((cls[hit], of[kept])),
                tp=np.repeat(true[:, None], 10, axis=1),
                target_counts=counts,
            )
        )
    return both[0], both[1]


def true_aps(samples: int = 6, images: int = 6000) -> Array:
    """AP of every class of both detectors, (2, classes), on many images."""
    found = [
        [class_ap(one, np.ones((1, images)))[0] for one in detectors(rng, images)]
        for rng in map(np.random.default_rng, range(9000, 9000 + samples))
    ]
    means: Array = np.nanmean(found, axis=0)
    return means


def map_coverage(
    truth: Array, images: int, repetitions: int, rng: np.random.Generator
) -> Iterator[tuple[str, float, float, float, float]]:
    """For mAP50 and its difference: share covered, half width, bias, and off the middle."""
    rows: dict[str, list[tuple[float, ...]]] = {"mAP50": [], "difference": []}
    for _ in range(repetitions):
        both = detectors(rng, images)
        held = both[0].target_counts.any(axis=0)
        first, second = truth[:, held].mean(axis=1)
        resamples = Resamples(both[0].target_counts, 400, int(rng.integers(2**31)))
        a, b = (resamples.scores(one) for one in both)
        for name, estimate, draws, true in (
            ("mAP50", a.map50, a.draws, first),
            ("difference", a.map50 - b.map50, a.draws - b.draws, first - second),
        ):
            found = of_draws(estimate, draws, images).interval(LEVEL)
            low, high = np.quantile(draws, [0.025, 0.975])
            middle = abs((estimate - low) / (high - low) - 0.5)
            covers = found.low <= true <= found.high
            rows[name].append((covers, half_width(found), estimate - true, middle))
    for name, values in rows.items():
        yield name, *map(float, np.mean(values, axis=0))


def half_width(found: Interval) -> float:
    """Half the width of an interval."""
    return (found.high - found.low) / 2


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=300)
    repetitions = parser.parse_args().repetitions
    rng = np.random.default_rng(20240229)
    rounds = (8, 12, 18, 27, 40, None)
    titles = ["adaptive" if count is None else f"{count} rounds" for count in rounds]
    print(f"\n| host | {' | '.join(titles)} |\n|---|{'---|' * len(rounds)}")
    for name, host in HOSTS.items():
        cells = []
        for count in rounds:
            covered, width, mean = latency_coverage(host, count, repetitions, rng)
            shown = f" ({mean:.0f} rounds)" if count is None else ""
            cells.append(f"{covered:.1%}, ±{width:.1f} %{shown}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    truth = true_aps()
    print("\n| images | of | covered | half width | bias | off the middle |")
    print("|---|---|---|---|---|---|")
    for images in (20, 50, 100, 200, 500):
        for name, covered, width, bias, middle in map_coverage(truth, images, repetitions, rng):
            figures = f"{covered:.1%} | {width:.3f} | {bias:+.3f} | {middle:.0%}"
            print(f"| {images} | {name} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
