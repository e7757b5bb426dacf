"""The run's files on the other hosts it asked, each ranked there by its own measurement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunebench.results.messages.catalogue import Messages
from prunebench.results.report.document import (
    Block,
    Cell,
    Column,
    Item,
    Items,
    Paragraph,
    Section,
    Table,
    cells,
)
from prunebench.results.report.numbers import BLANK, with_interval
from prunebench.results.report.stored import StoredRun

if TYPE_CHECKING:
    from prunebench.results.devices import Device
    from prunebench.results.ranking.records import Ranking


def devices(run: StoredRun, m: Messages) -> Section | None:
    """Rank, FPS and model milliseconds by device, ``None`` where no other host was asked."""
    # Devices are read from outcomes, which import the report to write it.
    from prunebench.results.devices import read_devices

    asked = read_devices(run.folder)
    if not asked:
        return None
    answers = {d.name: d.ranking.rankings[0] for d in asked if d.ranking is not None}
    blocks: list[Block] = [
        Paragraph(m("devices.how")),
        Items(tuple(Item(_what_it_is(device, m), device.name) for device in asked)),
    ]
    if answers:
        blocks.append(_table(run.ranking, answers, m))
    return Section("devices", m("devices.title"), tuple(blocks))


def _what_it_is(device: Device, m: Messages) -> str:
    if device.fingerprint is None or device.ranking is None:
        return m("devices.failed", reason=device.failure or BLANK)
    threads = m.counted("threads", device.ranking.rankings[0].threads)
    return m("devices.host", cpu=device.fingerprint.cpu, threads=threads)


def _table(here: Ranking, answers: dict[str, Ranking], m: Messages) -> Table:
    rankings = {m("devices.here"): here, **answers}
    columns = [Column(m("column.variant"))]
    for name in rankings:
        columns.append(Column(m("column.rank_on", device=name)))
        columns.append(Column(m("column.fps_on", device=name), True))
        columns.append(Column(m("column.ms_on", device=name), True))
    rows = []
    for name in (row.name for row in here.rows):
        line = [Cell(name)]
        for ranking in rankings.values():
            row = next((each for each in ranking.rows if each.name == name), None)
            line += (
                cells(BLANK, BLANK, BLANK)
                if row is None
                else cells(row.label, with_interval(row.fps), with_interval(row.latency_ms))
            )
        rows.append(tuple(line))
    return Table(m("devices.caption"), tuple(columns), tuple(rows))
