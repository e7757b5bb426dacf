"""A ranking as CSV."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from prunebench.common.records import Interval

if TYPE_CHECKING:
    from prunebench.results.ranking.records import Ranking

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
                "failure": f"not trained: no gain in round {left_out.judgement.round}",
            }
        )
