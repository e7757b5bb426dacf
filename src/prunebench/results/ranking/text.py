"""A ranking's sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunebench.common.records import Overlap
from prunebench.common.text import counted, percent, points

if TYPE_CHECKING:
    from prunebench.results.ranking.records import Change, Difference

COMPARATIVE = {
    "speed": "faster end to end",
    "latency": "faster (model only)",
    "accuracy": "more accurate",
    "efficiency": "more efficient",
}
NOUN = {
    "speed": "end-to-end speed",
    "latency": "model latency",
    "accuracy": "accuracy",
    "efficiency": "efficiency",
}
MAP50_NAME: dict[Overlap, str] = {"box": "mAP50", "mask": "mask mAP50"}


def difference_sentence(
    difference: Difference, smallest_difference: float, overlap: Overlap = "box"
) -> str:
    """One comparison in words.

    Args:
        difference: The comparison; its ``sentence`` is ignored.
        smallest_difference: Smallest difference that matters, as a share.
        overlap: What the mAP50 is taken of.
    """
    first, second, noun = difference.first, difference.second, NOUN[difference.metric]
    measured = difference.interval
    if measured is None:
        shared = counted(difference.rounds, "round")
        return f"{first} and {second} cannot be compared in {noun}: they share only {shared}."
    in_points = difference.metric == "accuracy"
    shown = points(measured) if in_points else percent(measured)
    if difference.told_apart:
        unit = f" {MAP50_NAME[overlap]}" if in_points else ""
        return f"{first} is {COMPARATIVE[difference.metric]} than {second} by {shown}{unit}."
    signed = points(measured, signed=True) if in_points else percent(measured, signed=True)
    if difference.same_network and difference.metric in ("speed", "latency"):
        return (
            f"{first} and {second} are the same network: the difference in {noun}, {signed}, "
            "cannot come from the models."
        )
    text = f"{first} and {second} cannot be told apart in {noun} (difference {signed})"
    limit = 100 * smallest_difference
    if not in_points and -limit < measured.low and measured.high < limit:
        text += f"; any difference is below {limit:g} %"
    elif measured.low > 0 or measured.high < 0:
        text += "; taken alone it would differ, among this many comparisons that is not enough"
    if difference.more_rounds is not None:
        more = counted(difference.more_rounds, "more round")
        text += f"; {more} would settle {difference.settles_percent:g} %"
    return f"{text}."


def change_phrase(change: Change, noun: str) -> str:
    """ "accuracy +2.4 % [+0.3, +4.4]", with "(not shown)" where it could be nothing."""
    doubt = "" if change.shown else " (not shown)"
    return f"{noun} {percent(change.percent, signed=True)}{doubt}"
