"""Whether a pruned variant has shown anything over the controls, which cost no pruning.

It has where its speed or its accuracy is shown to be better than the control's. Where neither is,
the control beats it if the control is shown to be better in both, or more accurate with the same
network, as on the Pareto front; else the two are level, and that is all that is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prunebench.common.records import Verdict
from prunebench.results.ranking.records import AgainstControl, Difference, RankedVariant

PRUNED: tuple[Verdict, ...] = ("pruned", "preserved", "altered")
"""Verdicts of a variant that was pruned and still is another network than the baseline."""


def against_controls(
    rows: Sequence[RankedVariant], differences: Sequence[Difference]
) -> Iterator[AgainstControl]:
    """Every pruned variant that has shown nothing over a control, by the order of the rows."""
    pairs = {(d.metric, frozenset((d.first, d.second))): d for d in differences}
    for control in rows:
        for row in rows:
            if control.control is None or row.control is not None or row.verdict not in PRUNED:
                continue
            pair = frozenset((control.name, row.name))
            speed, accuracy = pairs["speed", pair], pairs["accuracy", pair]
            if any(d.significant and d.first == row.name for d in (speed, accuracy)):
                continue
            beaten = accuracy.significant and (speed.significant or speed.same_network)
            yield AgainstControl(
                control=control.name, variant=row.name, verdict="beaten" if beaten else "level"
            )
