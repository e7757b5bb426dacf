"""Which classes gained and lost against the baseline."""

from __future__ import annotations

from prunebench.common.text import points
from prunebench.results.messages.catalogue import Messages
from prunebench.results.report import figures
from prunebench.results.report.document import Block, Cell, Column, Paragraph, Section, Table, cells
from prunebench.results.report.per_class import class_changes
from prunebench.results.report.stored import StoredRun

LISTED = 20


def classes(run: StoredRun, m: Messages) -> Section | None:
    """Changes of single classes, ``None`` where there is nothing to compare."""
    changes = class_changes(run)
    drawn = figures.class_changes(changes, m)
    if drawn is None:
        return None
    blocks: list[Block] = [drawn]
    shown = sorted((c for c in changes if c.shown), key=lambda c: c.change.estimate)
    if not shown:
        blocks.append(Paragraph(m("classes.none")))
        return Section("classes", m("classes.title"), tuple(blocks))
    columns = (
        Column(m("column.variant")),
        Column(m("column.class")),
        Column(m("column.objects"), True),
        Column(m("column.before"), True),
        Column(m("column.after"), True),
        Column(m("column.change"), True),
    )
    rows = tuple(
        cells(
            change.variant,
            change.name,
            f"{change.objects:,}",
            f"{change.before:.3f}",
            f"{change.after:.3f}",
            Cell(
                points(change.change, signed=True), "bad" if change.change.estimate < 0 else "good"
            ),
        )
        for change in shown[:LISTED]
    )
    blocks += [Paragraph(m("classes.shown")), Table(m("classes.caption"), columns, rows)]
    if len(shown) > LISTED:
        blocks.append(Paragraph(m("classes.more", n=len(shown) - LISTED)))
    return Section("classes", m("classes.title"), tuple(blocks))
