"""Which variant to ship for which use: limits first, then the figure that matters."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from prunebench.results.ranking.records import Advice, Metric, RankedVariant, Use
from prunebench.results.ranking.ties import Wins

PREFERENCE: dict[Use, tuple[Metric, Metric]] = {
    "real-time": ("speed", "accuracy"),
    "balance": ("efficiency", "accuracy"),
    "accuracy": ("accuracy", "speed"),
}
"""The metric that decides, and the one that decides between ties."""


def advise(
    rows: Sequence[RankedVariant], wins: Wins, unadvised: Collection[str] = ()
) -> Iterator[Advice]:
    """Advice for each use.

    Variants shown to lose more accuracy than allowed are no candidates, and for accuracy those
    ``unadvised`` by what the letterbox costs. For real-time use and
    for balance a candidate must be shown to keep the real-time limit. Among those the best in
    the deciding metric is recommended; of several that cannot be told apart from it, one that is
    shown to be better in the second metric.
    """
    accurate = [row for row in rows if row.keeps_accuracy != "no"]
    for use, (decides, breaks_ties) in PREFERENCE.items():
        candidates = [
            row
            for row in accurate
            if (row.name not in unadvised if use == "accuracy" else row.realtime == "yes")
        ]
        if not candidates:
            yield Advice(use=use, recommended=None, tied=())
            continue
        leader = max(candidates, key=lambda row: row.estimate(decides))
        level = [row for row in candidates if (decides, leader.name, row.name) not in wins]
        by_second = sorted(level, key=lambda row: row.estimate(breaks_ties), reverse=True)
        chosen = next(
            (row for row in by_second if (breaks_ties, row.name, leader.name) in wins), leader
        )
        tied = (
            row.name
            for row in level
            if row is not chosen and (breaks_ties, chosen.name, row.name) not in wins
        )
        instead_of = None if chosen is leader else leader.name
        yield Advice(use=use, recommended=chosen.name, tied=tuple(tied), leader=instead_of)
