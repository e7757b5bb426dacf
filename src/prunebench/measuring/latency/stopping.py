"""When to stop: after a minimum of rounds, go on only for pairs that are still contested.

The pairs are looked at after the minimum of rounds and again whenever half as many more are
done (8, 12, 18, 27 ...). A pair's log ratios, one per round in which both variants were
measured, give a trimmed Student-t interval. The pair is settled when that interval

- excludes 0: the two are told apart, or
- is so narrow that the smallest difference that matters would have excluded 0: its half width
  is at most half of that difference. Then it is a tie. (Half, because at a half width of the
  whole difference a true difference of that size would be missed every second time.)

Looking repeatedly raises the chance that equal variants are once told apart by luck. So interim
looks are few and each asks for 99 %: simulated over 8 to 40 rounds, two equal variants were told
apart in 1.8 % of runs where the ratio of one round varies by 1.4 %, and in 3.8 % where it
varies by 6 % (a 95 % interval computed after the stop excludes 0 in 7 to 8 %: do not use one).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from prunebench.common.plain import Interval
from prunebench.common.statistics import FEWEST_ROUNDS, Array, Footing, Location, Rounds
from prunebench.measuring.latency.raw import Kind, Pair, PairState, Sample

if TYPE_CHECKING:
    from prunebench.measuring.latency.records import LatencyResult

LEVEL = 0.99
LOOK_AGAIN = 1.5

POLISHES = 30
POLISHED = 1e-9  # Median polish ends when nothing moves by more, on the logarithmic scale.
Contested = Callable[[str, str], bool]


def round_medians(samples: Iterable[Sample], kind: Kind) -> dict[tuple[str, int], dict[int, float]]:
    """Typical milliseconds of each round, by (variant, threads); rounds not measured are absent.

    What a slice took is what the variant takes, times the host's effect on that turn, shared by
    all variants. The two are separated by Tukey's median polish of the logarithms (Exploratory
    Data Analysis, 1977, chapter 11): the ratio of two variants in a round is then, for two alone
    exactly, the median of the ratios of their slices. So ``samples`` are those of all variants.
    """
    rounds: dict[tuple[int, int], list[Sample]] = {}
    for sample in samples:
        if sample.durations(kind):
            turns = len(sample.slice_medians(kind))
            rounds.setdefault((sample.round, turns), []).append(sample)
    medians: dict[tuple[str, int], dict[int, float]] = {}
    for (index, _), together in rounds.items():
        slices = np.log([sample.slice_medians(kind) for sample in together])
        for sample, level in zip(together, polished_rows(slices), strict=True):
            of_variant = medians.setdefault((sample.variant, sample.threads), {})
            of_variant[index] = math.exp(level)
    return medians


def cpu_rounds(samples: Iterable[Sample]) -> dict[tuple[str, int], dict[int, float]]:
    """CPU milliseconds, of all threads, of an inference in each round, by (variant, threads)."""
    found: dict[tuple[str, int], dict[int, float]] = {}
    for sample in samples:
        spent = 1000 * sample.model_cpu_s / len(sample.model_ms)
        found.setdefault((sample.variant, sample.threads), {})[sample.round] = spent
    return found


def polished_rows(table: Array) -> Array:
    """Common level plus each row's effect, (rows,), of a two-way table, by median polish."""
    rest = table.copy()
    rows, columns = np.zeros(len(table)), np.zeros(table.shape[1])
    for _ in range(POLISHES):
        by_column = np.median(rest, axis=0)
        rest -= by_column
        columns += by_column
        by_row = np.median(rest, axis=1)
        rest -= by_row[:, None]
        rows += by_row
        if max(np.abs(by_column).max(), np.abs(by_row).max()) < POLISHED:
            break
    return rows + np.median(columns)


def on_one_footing(
    medians: Mapping[tuple[str, int], Rounds], names: Sequence[str]
) -> dict[int, Footing[str]]:
    """The variants of ``names`` that were measured, by thread count."""
    by_threads: dict[int, dict[str, Rounds]] = {}
    for (name, threads), rounds in medians.items():
        if name in names:
            by_threads.setdefault(threads, {})[name] = rounds
    return {threads: Footing(rounds) for threads, rounds in by_threads.items()}


def judge_pairs(
    medians: Mapping[tuple[str, int], Rounds],
    variants: Sequence[str],
    threads: Sequence[int],
    smallest_difference_percent: float,
    contested: Contested | None,
) -> tuple[Pair, ...]:
    """Judge every pair by ``round_medians``; ``contested``: worth more rounds (``None``: all)."""
    pairs = []
    footings = on_one_footing(medians, variants)
    for count in threads:
        for first, second in itertools.combinations(variants, 2):
            rounds = footings[count].shared(first, second) if count in footings else 0
            ratio: Interval | None = None
            state: PairState = "open"
            if rounds >= FEWEST_ROUNDS:
                found = footings[count].ratio(first, second)
                ratio, state = found.ratio(LEVEL), judge(found, smallest_difference_percent)
            if state == "open" and contested is not None and not contested(first, second):
                state = "not asked"
            names = {"first": first, "second": second}
            pairs.append(Pair(threads=count, **names, ratio=ratio, rounds=rounds, state=state))
    return tuple(pairs)


def judge(found: Location, smallest_difference_percent: float) -> PairState:
    """Whether two variants are settled, by the logarithm of their ratio."""
    half = found.half_width(LEVEL)
    if abs(found.centre) > half:
        return "told apart"
    return "tie" if half <= math.log1p(smallest_difference_percent / 100) / 2 else "open"


def is_interim_look(rounds_done: int, rounds_min: int) -> bool:
    """Whether the pairs are judged after this many rounds."""
    look = rounds_min
    while look < rounds_done:
        look = math.ceil(look * LOOK_AGAIN)
    return look == rounds_done


def still_open(pairs: Iterable[Pair]) -> frozenset[tuple[str, int]]:
    """The (variant, threads) that have to be measured again."""
    return frozenset(
        (name, pair.threads)
        for pair in pairs
        if pair.state == "open"
        for name in (pair.first, pair.second)
    )


def possible_interim_looks(latency: LatencyResult) -> int:
    """How often the measuring could have stopped on what it saw, whether it came to it or not."""
    first, last = latency.settings.rounds_min, latency.settings.rounds_max
    return 1 + sum(is_interim_look(rounds, first) for rounds in range(first, last))
