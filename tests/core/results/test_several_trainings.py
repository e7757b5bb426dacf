"""Variants trained with several seeds: intervals and verdicts over images and trainings."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from prunebench.common.statistics import add, of_draws, of_trainings
from prunebench.config.ranking import RankingConfig
from prunebench.results.ranking.doubts import OneTraining
from prunebench.results.ranking.measured import MeasuredVariant
from prunebench.results.ranking.rank import rank

CONFIG = RankingConfig(bootstrap=200)
MEASURED = 0.440, 0.115, 0.155
"""mAP50 of three trainings of one network that differ in the seed alone (docs/targets.md)."""
SPREAD = float(np.std(MEASURED, ddof=1))
OF_IMAGES = 0.02  # Standard error of a difference over the choice of images.
PAIRS = 200


def variant(
    name: str, map50: float, trainings: Sequence[float], rng: np.random.Generator
) -> MeasuredVariant:
    rounds = dict.fromkeys(range(6), 10.0)
    return MeasuredVariant(
        name=name,
        parent="baseline",
        strategy="preserving",
        network="one",
        size_mb=6.0,
        map50=map50,
        map50_draws=map50 + rng.normal(0, OF_IMAGES / np.sqrt(2), CONFIG.bootstrap),
        images=100,
        trainings=tuple(trainings),
        latency_ms={1: rounds},
        end_to_end_ms={1: rounds},
        epochs=4,
    )


def called_different(trained: int, *, told: bool = True, gain: float = 0.0) -> int:
    """Pairs, of ``PAIRS``, whose accuracies are called different; ``told`` of each training."""
    rng = np.random.default_rng(trained)
    found = 0
    for _ in range(PAIRS):
        pair = []
        for name, truth in (("a", 0.5 + gain), ("b", 0.5)):
            off = rng.normal(0, OF_IMAGES / np.sqrt(2))
            scores = truth + off + rng.normal(0, SPREAD, trained)
            pair.append(variant(name, float(scores.mean()), scores if told else (), rng))
        differences = rank(pair, config=CONFIG, threads=1).differences
        found += sum(d.significant for d in differences if d.metric == "accuracy")
    return found


def test_of_equal_strategies_with_five_seeds_one_pair_in_twenty_is_called_different() -> None:
    assert called_different(5) <= stats.binom.ppf(0.999, PAIRS, 0.05)


def test_an_interval_over_images_alone_calls_most_equal_pairs_different() -> None:
    assert called_different(1, told=False) > PAIRS / 2


def test_a_difference_well_above_the_spread_is_found_with_five_seeds() -> None:
    assert called_different(5, gain=4 * SPREAD) > 0.9 * PAIRS


@pytest.mark.parametrize(
    ("trained", "spread"), [*itertools.product((2, 3, 5, 10), (0.25, 1.0, 4.0, 16.0))]
)
def test_intervals_over_images_and_trainings_cover_what_they_promise(
    trained: int, spread: float
) -> None:
    rng = np.random.default_rng([trained, int(spread * 4)])
    tries, draws, covered = 1000, rng.normal(size=400), 0
    draws /= draws.std()
    for _ in range(tries):
        scores = rng.normal() + rng.normal(0, spread, trained)
        centre = float(scores.mean())
        found = add(of_draws(centre, centre + draws, 100), of_trainings(scores)).interval(0.95)
        covered += found.low <= 0 <= found.high
    # Two trainings may agree by chance, and are then believed too readily.
    assert covered >= stats.binom.ppf(0.001, tries, 0.87 if trained == 2 else 0.92)


def test_what_trainings_add_is_the_error_of_their_mean() -> None:
    found = of_trainings(MEASURED)
    assert (found.centre, found.df) == (0, 2)
    assert found.se == pytest.approx(stats.sem(MEASURED))
    half = stats.t.interval(0.95, 2, loc=0, scale=stats.sem(MEASURED))[1]
    assert found.half_width(0.95) == pytest.approx(half)


def test_a_row_is_as_wide_as_its_images_and_trainings_say() -> None:
    rng = np.random.default_rng(0)
    once = variant("once", 0.5, (), rng)
    often = variant("often", 0.5, (0.4, 0.5, 0.6), rng)
    ranking = rank([once, often], config=CONFIG, threads=1)
    images = of_draws(0.5, often.map50_draws, 100)
    expected = add(images, of_trainings((0.4, 0.5, 0.6))).interval(CONFIG.level)
    found = ranking.row("often").map50
    assert (found.low, found.high) == pytest.approx((max(0, expected.low), min(1, expected.high)))
    narrow = ranking.row("once").map50
    assert narrow.high - narrow.low < (found.high - found.low) / 4
    wide, slim = ranking.row("often").efficiency, ranking.row("once").efficiency
    assert wide.high - wide.low > 3 * (slim.high - slim.low)


def test_only_variants_of_one_training_are_said_to_be_one() -> None:
    rng = np.random.default_rng(0)
    often = variant("often", 0.5, (0.4, 0.5, 0.6), rng)
    baseline = variant("baseline", 0.5, (), rng)
    object.__setattr__(baseline, "parent", None)
    object.__setattr__(baseline, "epochs", 0)
    for others, expected in (([], ()), ([variant("once", 0.5, (), rng)], ("once",))):
        warnings = rank([baseline, often, *others], config=CONFIG, threads=1).warnings
        named = [w.names for w in warnings if isinstance(w, OneTraining)]
        assert named == ([expected] if expected else [])
