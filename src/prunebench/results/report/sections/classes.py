"""Which classes gained and lost against the unpruned network."""

from __future__ import annotations

from prunebench.common.text import points
from prunebench.results.messages.catalogue import Messages
from prunebench.results.report import document as doc
from prunebench.results.report import figures
from prunebench.results.report.per_class import class_changes
from prunebench.results.report.stored import ReportedRun

LISTED = 20


def classes(run: ReportedRun, m: Messages) -> doc.Section | None:
    """Changes of single classes, ``None`` where there is nothing to compare."""
    changes = class_changes(run)
    drawn = figures.class_changes(changes, m)
    if drawn is None:
        return None
    shown = sorted((c for c in changes if c.shown), key=lambda c: c.change.estimate)
    if not shown:
        return doc.section("classes", m, drawn, m("classes.none"))
    rows = (
        doc.cells(
            c.variant,
            c.against,
            c.name,
            f"{c.objects:,}",
            points(c.before),
            points(c.after),
            doc.Cell(points(c.change, signed=True), "bad" if c.change.estimate < 0 else "good"),
        )
        for c in shown[:LISTED]
    )
    heads = doc.titles(m, "variant", "against", "class", "objects#", "before#", "after#", "change#")
    more = len(shown) - LISTED
    return doc.section(
        "classes",
        m,
        drawn,
        m("classes.shown"),
        doc.table(m("classes.caption"), heads, rows),
        m("classes.more", n=more) if more > 0 else None,
    )
