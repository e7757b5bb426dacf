"""The run beside earlier ones of the same host, and beside other hosts with the same files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunebench.results.messages.catalogue import Messages
from prunebench.results.report import figures
from prunebench.results.report.document import (
    Block,
    Cell,
    Item,
    Items,
    Paragraph,
    Section,
    Table,
    cells,
    section,
    table,
    titles,
)
from prunebench.results.report.numbers import BLANK, with_interval
from prunebench.results.report.over_time import OverTime, over_time
from prunebench.results.report.stored import ReportedRun

if TYPE_CHECKING:
    from prunebench.results.history.change_points import MarkedSeries

MOST_HOSTS = 6


def history(run: ReportedRun, m: Messages) -> Section | None:
    """Latency over time and by device, ``None`` where this run is the only one."""
    found = over_time(run)
    blocks: list[Block] = []
    drawn = figures.over_time(found.series, m)
    if drawn is not None:
        blocks += [Paragraph(m("history.how")), drawn, _changes(found.series, m)]
    if found.elsewhere:
        blocks += [Paragraph(m("history.devices.how")), _devices(run, found, m)]
    return section("history", m, *blocks) if blocks else None


def _changes(series: tuple[MarkedSeries, ...], m: Messages) -> Block:
    items = tuple(
        Item(
            m(
                "history.changed",
                run=one.points[change.index].run,
                before=f"{change.before:.3f}",
                after=f"{change.after:.3f}",
                change=f"{100 * (change.after / change.before - 1):+.1f}",
            ),
            one.variant,
        )
        for one in series
        for change in one.changes
    )
    if items:
        return Items(items)
    few = any(one.too_short for one in series)
    return Paragraph(m("history.few" if few else "history.unchanged"))


def _devices(run: ReportedRun, found: OverTime, m: Messages) -> Table:
    """FPS and model milliseconds of the same files, two columns for each device."""
    digests = list(found.elsewhere)[-MOST_HOSTS:]
    cpu = run.latency.fingerprint.cpu
    heads = [*titles(m, "variant", "here_fps#", "here_ms#", cpu=cpu)]
    for digest in digests:
        cpu = found.hosts[digest].cpu
        heads += titles(m, "device_fps#", "device_ms#", cpu=cpu, digest=digest[:6])
    rows = []
    for row in run.ranking.rows:
        line: list[Cell] = [Cell(row.name)]
        for point in (row, *(found.elsewhere[digest].get(row.name) for digest in digests)):
            if point is None:
                line += cells(BLANK, BLANK)
            else:
                line += cells(with_interval(point.fps), with_interval(point.latency_ms))
        rows.append(tuple(line))
    threads = m.counted("threads", run.ranking.threads)
    return table(m("history.devices", threads=threads), heads, rows)
