"""Is it the pruning, or the runtime? The leading variants in other runtimes than onnxruntime."""

from __future__ import annotations

from prunebench.common.text import points
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.runtimes import named, tell_runtimes
from prunebench.results.ranking.records import Elsewhere, Ranking
from prunebench.results.report import document as doc
from prunebench.results.report.numbers import with_interval
from prunebench.results.report.stored import ReportedRun


def runtimes(run: ReportedRun, m: Messages) -> doc.Section | None:
    """What other runtimes do with the same weights; ``None`` where none was asked for."""
    told = tell_runtimes(run.ranking, m)
    if told is None:
        return None
    left_out = [doc.Item(f.reason, f.name) for f in run.ranking.failures_elsewhere]
    return doc.section(
        "runtimes",
        m,
        m("runtimes.how"),
        told,
        *(_table(ranking, m) for ranking in run.outcome.rankings if ranking.elsewhere),
        *([m("runtimes.left_out"), doc.items(left_out)] if left_out else []),
    )


def _table(ranking: Ranking, m: Messages) -> doc.Table:
    # A classification predicts no boxes.
    apart = () if ranking.metric == "top1" else ("apart_px#",)
    heads = doc.titles(
        m,
        *("variant", "runtime", "fps_back_to_back#", "x_own#", "x_baseline#", "map50_runtime#"),
        *("change_runtime#", "model_ms#", "mb#", "rss#", *apart, "apart_score#"),
    )
    caption = m("runtimes.caption", threads=m.counted("threads", ranking.threads))
    return doc.table(caption, heads, (_row(row, bool(apart), m) for row in ranking.elsewhere))


def _row(row: Elsewhere, boxes: bool, m: Messages) -> tuple[doc.Cell, ...]:
    return doc.cells(
        row.name,
        f"{named(row, m)}, {row.runtime.version}",
        with_interval(row.fps),
        with_interval(row.times_own, digits=2),
        None if row.times_baseline is None else with_interval(row.times_baseline, digits=2),
        points(row.map50),
        points(row.map50_change, signed=True),
        with_interval(row.latency_ms),
        f"{row.size_mb:.2f}",
        None if row.rss_mb is None else with_interval(row.rss_mb, digits=1),
        *([f"{row.parity.max_box_px:.2g}"] if boxes else []),
        f"{row.parity.max_score:.2g}",
    )
