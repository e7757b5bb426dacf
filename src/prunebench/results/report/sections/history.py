"""The run beside earlier ones of the same host, and beside other hosts with the same files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunebench.results.messages.catalogue import Messages
from prunebench.results.report import document as doc
from prunebench.results.report import figures
from prunebench.results.report.numbers import with_interval
from prunebench.results.report.over_time import OverTime, over_time
from prunebench.results.report.stored import ReportedRun

if TYPE_CHECKING:
    from prunebench.results.history.change_points import MarkedSeries

MOST_HOSTS = 6


def history(run: ReportedRun, m: Messages) -> doc.Section | None:
    """Latency over time and by device, ``None`` where this run is the only one."""
    found = over_time(run)
    blocks: list[doc.Block | str] = []
    drawn = figures.over_time(found.series, m)
    if drawn is not None:
        blocks += [m("history.how"), drawn, _changes(found.series, m)]
    if found.elsewhere:
        blocks += [m("history.devices.how"), _devices(run, found, m)]
    return doc.section("history", m, *blocks) if blocks else None


def _changes(series: tuple[MarkedSeries, ...], m: Messages) -> doc.Block | str:
    items = []
    for one in series:
        for change in one.changes:
            values = {
                "run": one.points[change.index].run,
                "before": f"{change.before:.3f}",
                "after": f"{change.after:.3f}",
                "change": f"{100 * (change.after / change.before - 1):+.1f}",
            }
            items.append(doc.Item(m("history.changed", **values), one.variant))
    few = any(one.too_short for one in series)
    return doc.items(items) or m("history.few" if few else "history.unchanged")


def _devices(run: ReportedRun, found: OverTime, m: Messages) -> doc.Table:
    """FPS and model milliseconds of the same files, two columns for each device."""
    digests = list(found.elsewhere)[-MOST_HOSTS:]
    cpu = run.latency.fingerprint.cpu
    heads = [*doc.titles(m, "variant", "here_fps#", "here_ms#", cpu=cpu)]
    for digest in digests:
        cpu = found.hosts[digest].cpu
        heads += doc.titles(m, "device_fps#", "device_ms#", cpu=cpu, digest=digest[:6])
    rows = []
    for row in run.ranking.rows:
        line: list[str | None] = [row.name]
        for point in (row, *(found.elsewhere[digest].get(row.name) for digest in digests)):
            both = (None, None) if point is None else (point.fps, point.latency_ms)
            line += [None if one is None else with_interval(one) for one in both]
        rows.append(doc.cells(*line))
    threads = m.counted("threads", run.ranking.threads)
    return doc.table(m("history.devices", threads=threads), heads, rows)
