"""Rankings as a pandas DataFrame, which is also what ``ranking.csv`` holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from prunebench.results.ranking.records import Ranking

INTERVALS = ("map50", "latency_ms", "fps", "efficiency")
SEGMENTATION = ("box_map50", "mask_map50")
"""Further intervals where the models predict masks; ``map50`` is one of the two."""


def ranking_frame(*rankings: Ranking) -> pd.DataFrame:
    """Rankings of one or several thread counts, a row per variant; ``prunebench rank`` reads it.

    Failed variants and those not trained follow the ranked ones of their thread count with the
    reason in ``failure`` and without figures. An interval is three columns, as ``fps``,
    ``fps_low`` and ``fps_high``.
    """
    # Only what makes a table needs pandas, and a command must start without it.
    import pandas as pd

    shown = [*INTERVALS, *(SEGMENTATION if any(one.segmentation for one in rankings) else ())]
    columns = ["variant", "rank", "params", "size_mb"]
    columns += [f"{name}{end}" for name in INTERVALS for end in ("", "_low", "_high")]
    columns += ["map50_per_fps", "threads", "verdict", "realtime", "keeps_accuracy", "pareto"]
    columns += ["failure"]
    columns += [f"{name}{end}" for name in shown[len(INTERVALS) :] for end in ("", "_low", "_high")]
    rows = [row for ranking in rankings for row in _rows(ranking, shown)]
    return pd.DataFrame(rows, columns=columns).astype({"params": "Int64"})


def _rows(ranking: Ranking, intervals: list[str]) -> Iterator[dict[str, Any]]:
    for row in ranking.rows:
        values: dict[str, Any] = {
            "variant": row.name,
            "rank": row.label,
            "params": row.parameters,
            "size_mb": row.size_mb,
            "map50_per_fps": row.map50_per_fps,
            "threads": ranking.threads,
            "verdict": row.verdict,
            "realtime": row.realtime,
            "keeps_accuracy": row.keeps_accuracy,
            "pareto": row.pareto,
        }
        for name in intervals:
            if interval := getattr(row, name):
                values |= {name: interval.estimate, f"{name}_low": interval.low}
                values[f"{name}_high"] = interval.high
        yield values
    for failed in ranking.failures:
        reason = f"{failed.step}: {failed.reason}"
        yield {"variant": failed.name, "threads": ranking.threads, "failure": reason}
    for left_out in ranking.not_trained:
        reason = f"not trained: no gain in round {left_out.judgement.round}"
        yield {"variant": left_out.name, "threads": ranking.threads, "failure": reason}
