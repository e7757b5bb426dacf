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
    rows: Sequence[RankedVariant],
    wins: Wins,
    unadvised: Collection[str] = (),
    baseline: str | None = None,
) -> Iterator[Advice]:
    """Advice for each use.

    Variants shown to lose more accuracy than allowed are no candidates, and for accuracy those
    ``unadvised`` by what the letterbox costs; nor is one that is not shown to stay within a limit
    of the memory. For real-time use and
    for balance a candidate must be shown to keep the real-time limit. Among those the best in
    the deciding metric is recommended; of several that cannot be told apart from it, one that is
    shown to be better in the second metric. Whose loss may be over the limit replaces nobody where
    accuracy decides: that it cannot be told apart from the most accurate is not enough there.

    A retrained variant beside which no unpruned network was retrained alike wins nothing over an
    unpruned one by its accuracy: neither the use ``accuracy`` nor a tie.
    """
    confounded = {row.name for row in rows if row.confounded}
    unpruned = {row.name for row in rows if row.control or row.name == baseline}
    fair = {
        (metric, winner, loser)
        for metric, winner, loser in wins
        if metric != "accuracy" or winner not in confounded or loser not in unpruned
    }
    allowed = [
        row for row in rows if row.keeps_accuracy != "no" and row.keeps_memory in (None, "yes")
    ]
    for use in PREFERENCE:
        if use == "accuracy":
            advised = [row for row in allowed if row.name not in unadvised]
            yield _most_accurate(advised, wins, fair)
        else:
            yield _best(use, [row for row in allowed if row.realtime == "yes"], fair)


def _most_accurate(rows: Sequence[RankedVariant], wins: Wins, fair: Wins) -> Advice:
    found = _best("accuracy", [row for row in rows if not row.confounded], fair)
    best = found.recommended
    rivals = [r.name for r in rows if r.confounded and ("accuracy", best, r.name) not in wins]
    if any(("accuracy", rival, best) in wins for rival in rivals):
        found = Advice(use="accuracy", recommended=None, tied=(), leader=best)
    return found.model_copy(update={"confounded": tuple(rivals)})


def _best(use: Use, candidates: Collection[RankedVariant], wins: Wins) -> Advice:
    decides, breaks_ties = PREFERENCE[use]
    if not candidates:
        return Advice(use=use, recommended=None, tied=())
    leader = max(candidates, key=lambda row: row.estimate(decides))
    level = [row for row in candidates if (decides, leader.name, row.name) not in wins]
    may_replace = [row for row in level if use != "accuracy" or row.keeps_accuracy != "not shown"]
    by_second = sorted(may_replace, key=lambda row: row.estimate(breaks_ties), reverse=True)
    chosen = next(
        (row for row in by_second if (breaks_ties, row.name, leader.name) in wins), leader
    )
    tied = (
        row.name
        for row in level
        if row is not chosen and (breaks_ties, chosen.name, row.name) not in wins
    )
    instead_of = None if chosen is leader else leader.name
    return Advice(use=use, recommended=chosen.name, tied=tuple(tied), leader=instead_of)
