"""Whether a pruned variant has shown anything over the controls, which cost no pruning.

It has where its speed or its accuracy is shown to be better than the control's. Where neither is,
the control beats it if the control is shown to be better in both, or more accurate with the same
network, as on the Pareto front; else the two are level, and that is all that is said.

Who lost its pruning, is not what it was made from, loses more accuracy than allowed or takes more
memory is not held against anyone: nobody would ship it for its pruning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prunebench.common.records import Verdict
from prunebench.results.ranking.records import AgainstControl, Difference, RankedVariant

PRUNED: tuple[Verdict, ...] = ("pruned", "preserved", "altered")
"""Verdicts of a variant that was pruned and still is another network than the baseline."""


def shippable(rows: Sequence[RankedVariant]) -> list[RankedVariant]:
    """What pruning gives: its variants that kept it, and are not shown to break a limit."""
    return [
        row
        for row in rows
        if row.control is None
        and row.verdict in ("pruned", "preserved")
        and "no" not in (row.keeps_accuracy, row.keeps_memory)
    ]


def against_controls(
    rows: Sequence[RankedVariant], differences: Sequence[Difference]
) -> Iterator[AgainstControl]:
    """Every pruned variant one could ship that has shown nothing over a control, in rows' order."""
    pruned = shippable(rows)
    pairs = {(d.metric, frozenset((d.first, d.second))): d for d in differences}
    for control in rows:
        for row in pruned if control.control is not None else ():
            pair = frozenset((control.name, row.name))
            speed, accuracy = pairs["speed", pair], pairs["accuracy", pair]
            if any(d.significant and d.first == row.name for d in (speed, accuracy)):
                continue
            beaten = accuracy.significant and (speed.significant or speed.same_network)
            yield AgainstControl(
                control=control.name, variant=row.name, verdict="beaten" if beaten else "level"
            )
