"""What a ranking supports saying: who leads a metric, and who is shown to beat whom."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from prunebench.results.ranking.records import Difference, Metric, RankedVariant, Ranking


@dataclass(frozen=True)
class Standing:
    """The comparisons that show a variant to be better, to be worse, and neither, in one metric."""

    above: tuple[Difference, ...]
    below: tuple[Difference, ...]
    level: tuple[Difference, ...]


def leader(ranking: Ranking, metric: Metric) -> tuple[RankedVariant, tuple[str, ...]]:
    """The best estimate in a metric, and the names of those that cannot be told apart from it."""
    first = max(ranking.rows, key=lambda row: row.estimate(metric))
    level = {d.other(first.name) for d in standing(ranking, metric, first.name).level}
    return first, tuple(row.name for row in ranking.rows if row.name in level)


def standing(ranking: Ranking, metric: Metric, name: str) -> Standing:
    """How a variant stands against every other one."""
    own = [d for d in ranking.differences if d.metric == metric and name in (d.first, d.second)]
    return Standing(
        above=tuple(d for d in own if d.significant and d.first == name),
        below=tuple(d for d in own if d.significant and d.second == name),
        level=tuple(d for d in own if not d.significant),
    )


def dominators(ranking: Ranking, name: str) -> tuple[str, ...]:
    """Variants shown to be more accurate, and shown to be faster or the same network."""
    accurate = {d.first: d for d in standing(ranking, "accuracy", name).below}
    faster = {d.first for d in standing(ranking, "speed", name).below}
    return tuple(
        row.name
        for row in ranking.rows
        if (pair := accurate.get(row.name)) and (row.name in faster or pair.same_network)
    )


def pareto_ranks(ranking: Ranking) -> dict[str, int]:
    """1 for who is not shown to be beaten, else one more than the last of those who beat it.

    It ends, because who beats another one has the higher estimate of accuracy.
    """
    beaten_by = {row.name: dominators(ranking, row.name) for row in ranking.rows}

    @cache
    def rank(name: str) -> int:
        return 1 + max(map(rank, beaten_by[name]), default=0)

    return {name: rank(name) for name in beaten_by}


def compared(ranking: Ranking, metric: Metric, a: str, b: str) -> Difference | None:
    """The comparison of two variants, ``None`` where there is none."""
    try:
        return ranking.difference(metric, a, b)
    except KeyError:
        return None
