"""A ranking's sentences and its CSV."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from prunebench.common.records import Interval, Overlap
from prunebench.common.text import counted, percent, points

if TYPE_CHECKING:
    from prunebench.results.ranking.records import Change, Difference, Ranking

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
CSV_COLUMNS = (
    "variant",
    "rank",
    "params",
    "size_mb",
    "map50",
    "map50_low",
    "map50_high",
    "latency_ms",
    "latency_ms_low",
    "latency_ms_high",
    "fps",
    "fps_low",
    "fps_high",
    "efficiency",
    "efficiency_low",
    "efficiency_high",
    "map50_per_fps",
    "threads",
    "verdict",
    "realtime",
    "keeps_accuracy",
    "pareto",
    "failure",
)
SEGMENTATION_COLUMNS = tuple(
    f"{overlap}_map50{end}" for overlap in ("box", "mask") for end in ("", "_low", "_high")
)
"""Further columns where the models predict masks; ``map50`` is one of the two."""


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


def ranking_rows_csv(*rankings: Ranking) -> str:
    """Rankings of one or several thread counts as one CSV; ``prunebench rank`` reads it back.

    Failed variants and those not trained follow the ranked ones with their reason and without
    figures. Segmentation adds mAP50 of boxes and of masks; ``map50`` is the one that ranks.
    """
    stream = io.StringIO()
    segmentation = any(ranking.segmentation for ranking in rankings)
    columns = (*CSV_COLUMNS, *SEGMENTATION_COLUMNS) if segmentation else CSV_COLUMNS
    writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for ranking in rankings:
        _write_rows(writer, ranking)
    return stream.getvalue()


def _write_rows(writer: csv.DictWriter[str], ranking: Ranking) -> None:
    for row in ranking.rows:
        values: dict[str, object] = {
            "variant": row.name,
            "rank": row.label,
            "params": "" if row.parameters is None else row.parameters,
            "size_mb": f"{row.size_mb:.4f}",
            "map50_per_fps": f"{row.map50_per_fps:.5f}",
            "threads": ranking.threads,
            "verdict": row.verdict or "",
            "realtime": row.realtime,
            "keeps_accuracy": row.keeps_accuracy or "",
            "pareto": row.pareto,
        }
        intervals = ("map50", "latency_ms", "fps", "efficiency", "box_map50", "mask_map50")
        for column in intervals:
            interval: Interval | None = getattr(row, column)
            if interval is None:
                continue
            values[column] = f"{interval.estimate:.5g}"
            values[f"{column}_low"] = f"{interval.low:.5g}"
            values[f"{column}_high"] = f"{interval.high:.5g}"
        writer.writerow(values)
    for failed in ranking.failures:
        writer.writerow(
            {
                "variant": failed.name,
                "threads": ranking.threads,
                "failure": f"{failed.step}: {failed.reason}",
            }
        )
    for left_out in ranking.not_trained:
        writer.writerow(
            {
                "variant": left_out.name,
                "threads": ranking.threads,
                "failure": f"not trained: {left_out.reason}",
            }
        )
