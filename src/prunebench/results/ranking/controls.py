"""Whether a pruned variant has shown anything over the controls, which cost no pruning.

It has where its speed or its accuracy is shown to be better than the control's. Where neither is,
the control beats it if the control is shown to be better in both, or more accurate with the same
network, as on the Pareto front; else the two are level, and that is all that is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from prunebench.common.records import Interval, Verdict
from prunebench.common.text import percent, points
from prunebench.results.ranking.records import AgainstControl, Difference, Metric, RankedVariant

PRUNED: tuple[Verdict, ...] = ("pruned", "preserved", "altered")
"""Verdicts of a variant that was pruned and still is another network than the baseline."""

NOT_SHOWN = "no advantage of the pruning is shown"


def against_controls(
    rows: Sequence[RankedVariant], differences: Sequence[Difference]
) -> tuple[AgainstControl, ...]:
    """Every pruned variant that has shown nothing over a control, by the order of the rows."""
    pairs = {
        (difference.metric, frozenset((difference.first, difference.second))): difference
        for difference in differences
    }
    found = []
    for control in rows:
        for row in rows:
            if control.control is None or row.control is not None or row.verdict not in PRUNED:
                continue
            one = _compared(control, row, pairs)
            if one is not None:
                found.append(one)
    return tuple(found)


def _compared(
    control: RankedVariant,
    row: RankedVariant,
    pairs: Mapping[tuple[Metric, frozenset[str]], Difference],
) -> AgainstControl | None:
    pair = frozenset((control.name, row.name))
    speed, accuracy = pairs["speed", pair], pairs["accuracy", pair]
    if any(d.told_apart and d.first == row.name for d in (speed, accuracy)):
        return None
    beaten = accuracy.told_apart and (speed.told_apart or speed.same_network)
    verdict: Literal["beaten", "level"] = "beaten" if beaten else "level"
    end = f"{control.name}, which costs no pruning, beats it" if beaten else NOT_SHOWN
    text = f"{_clauses(control.name, row.name, speed, accuracy)}: {end}"
    if row.size_mb < control.size_mb:
        sizes = f"{row.size_mb:.2f} MB against {control.size_mb:.2f}"
        text += f"; all that {row.name} has is the smaller file ({sizes})"
    return AgainstControl(
        control=control.name, variant=row.name, verdict=verdict, sentence=f"{text}."
    )


def _clauses(control: str, variant: str, speed: Difference, accuracy: Difference) -> str:
    """How the two compare, the control first."""
    by, more = seen_from(control, speed), seen_from(control, accuracy)
    open_speed = "" if by is None else f" (difference {percent(by, signed=True)})"
    open_accuracy = "" if more is None else f" (difference {points(more, signed=True)})"
    if not speed.told_apart and not speed.same_network and not accuracy.told_apart:
        both = f"speed{open_speed} or mAP50{open_accuracy}"
        return f"{control} cannot be told apart from {variant} in {both}"
    if by is not None and speed.told_apart:
        first = f"is faster than {variant} by {percent(by)}"
    elif speed.same_network:
        first = f"is the same network as {variant}"
    else:
        first = f"cannot be told apart from {variant} in speed{open_speed}"
    if more is not None and accuracy.told_apart:
        return f"{control} {first} and is more accurate by {points(more)} mAP50"
    return f"{control} {first} and cannot be told apart from it in mAP50{open_accuracy}"


def seen_from(name: str, difference: Difference) -> Interval | None:
    """How much better ``name`` is, negative where it is worse; ``None`` where it is not known."""
    measured = difference.interval
    if measured is None or difference.first == name:
        return measured
    if difference.metric == "accuracy":
        low, high = -measured.high, -measured.low
        return measured.model_copy(
            update={"estimate": -measured.estimate, "low": low, "high": high}
        )
    # A ratio: what is faster by 25 % leaves the other slower by 20 %.
    estimate, low, high = (
        100 * (1 / (1 + value / 100) - 1)
        for value in (measured.estimate, measured.high, measured.low)
    )
    return measured.model_copy(update={"estimate": estimate, "low": low, "high": high})
