"""Where a tie is decided: two variants are tied unless a difference between them is significant.

Each metric is a family of its own for Holm's correction: at most one run in twenty (at level
0.95) declares any false difference in it. Pairs that run the same network are no part of the
speed families: there is nothing to find.

The rank is 1 + the number of variants shown to be more efficient, so ranks read 1, 2=, 2=, 4.
A tie is not transitive: with A shown above C, and B tied with both, A and B share rank 1 and C
has rank 2. So an equal rank says that neither of two variants has more above it, and the pairs
say which differences are shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from prunebench.common.statistics import Location, holm, rounds_to_settle
from prunebench.results.ranking.compare import Raw, display_interval
from prunebench.results.ranking.records import Difference, Metric

METRICS: tuple[Metric, ...] = ("speed", "latency", "accuracy", "efficiency")
BY_ROUNDS = ("speed", "latency")
"""Metrics in which two variants of one network cannot differ."""

SETTLE_LADDER = (0.03, 0.02, 0.01, 0.005, 0.002, 0.001)
"""Differences, as shares, that further rounds are proposed for; the first unsettled one."""

Wins = Collection[tuple[Metric, str, str]]
"""Metric, winner and loser of every significant difference."""


def decide(
    raws: Sequence[Raw], level: float, smallest_difference: float, interim_looks: int
) -> Iterator[Difference]:
    """Correct the comparisons for their number and say which differences are significant.

    Args:
        raws: Every pair in every metric.
        level: Confidence level of each metric's family.
        smallest_difference: Smallest difference that matters, as a share.
        interim_looks: How often the measuring could have stopped on what it saw. Every look is a
            chance of a false alarm, so the p-values that rest on rounds are multiplied by it.
    """
    for metric in METRICS:
        family = [raw for raw in raws if raw.metric == metric]
        looks = 1 if metric == "accuracy" else interim_looks
        tested = [raw for raw in family if not (raw.same_network and metric in BY_ROUNDS)]
        corrected = holm([min(1.0, raw.p * looks) for raw in tested])
        by_pair = {(raw.a, raw.b): p for raw, p in zip(tested, corrected, strict=True)}
        for raw in family:
            p = by_pair.get((raw.a, raw.b), 1.0)
            yield _difference(raw, p, len(tested) * looks, level, smallest_difference)


def wins_of(differences: Sequence[Difference]) -> Wins:
    """Who is shown to be better than whom in what."""
    return {(d.metric, d.first, d.second) for d in differences if d.significant}


def tied(wins: Wins, metric: Metric, a: str, b: str) -> bool:
    """Whether neither of two variants is shown to be better than the other."""
    return (metric, a, b) not in wins and (metric, b, a) not in wins


def ranks_of(names: Sequence[str], wins: Wins) -> dict[str, int]:
    """1 + the number of variants shown to be more efficient."""
    above = Counter(loser for metric, _, loser in wins if metric == "efficiency")
    return {name: 1 + above[name] for name in names}


def labels_of(ranks: Mapping[str, int]) -> dict[str, str]:
    """The ranks as printed, with ``=`` where one is shared."""
    shared = Counter(ranks.values())
    return {name: f"{rank}{'=' if shared[rank] > 1 else ''}" for name, rank in ranks.items()}


def _difference(
    raw: Raw, p_corrected: float, comparisons: int, level: float, smallest_difference: float
) -> Difference:
    if raw.estimate < 0:
        raw = raw.swapped()
    significant = p_corrected <= 1 - level
    settles, more = None, None
    open_question = raw.metric in BY_ROUNDS and not raw.same_network and not significant
    if open_question and raw.location is not None:
        single = 1 - (1 - level) / max(comparisons, 1)
        settles, more = _proposal(raw.location, single, smallest_difference)
    return Difference(
        metric=raw.metric,
        first=raw.a,
        second=raw.b,
        interval=display_interval(raw, level)
        if raw.has_ratio and raw.location is not None
        else None,
        p=raw.p,
        p_corrected=p_corrected,
        significant=significant,
        same_network=raw.same_network,
        rounds=raw.rounds,
        settles_percent=settles,
        more_rounds=more,
    )


def _proposal(
    location: Location, level: float, smallest_difference: float
) -> tuple[float | None, int | None]:
    """The difference that further rounds would settle, in percent, and how many they are."""
    ladder = [smallest_difference, *(d for d in SETTLE_LADDER if d < smallest_difference)]
    for difference in ladder:
        more = rounds_to_settle(location, difference, level=level)
        if more is None:
            return None, None
        if more > 0:
            return 100 * difference, more
    return None, None
