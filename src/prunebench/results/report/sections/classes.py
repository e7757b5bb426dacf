"""Which classes gained and lost against the baseline."""

from __future__ import annotations

from prunebench.common.text import points
from prunebench.results.messages.catalogue import Messages
from prunebench.results.report import figures
from prunebench.results.report.document import (
    Cell,
    Paragraph,
    Section,
    cells,
    section,
    table,
    titles,
)
from prunebench.results.report.per_class import class_changes
from prunebench.results.report.stored import ReportedRun

LISTED = 20


def classes(run: ReportedRun, m: Messages) -> Section | None:
    """Changes of single classes, ``None`` where there is nothing to compare."""
    changes = class_changes(run)
    drawn = figures.class_changes(changes, m)
    if drawn is None:
        return None
    shown = sorted((c for c in changes if c.shown), key=lambda c: c.change.estimate)
    if not shown:
        return section("classes", m, drawn, Paragraph(m("classes.none")))
    rows = (
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
    heads = titles(m, "variant", "class", "objects#", "before#", "after#", "change#")
    more = len(shown) - LISTED
    return section(
        "classes",
        m,
        drawn,
        Paragraph(m("classes.shown")),
        table(m("classes.caption"), heads, rows),
        Paragraph(m("classes.more", n=more)) if more > 0 else None,
    )
