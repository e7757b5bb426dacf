"""What changed the accuracy: letterbox, retraining, pruning, activation, INT8, each by itself."""

from __future__ import annotations

from prunebench.common.text import points
from prunebench.results.messages.catalogue import Messages
from prunebench.results.ranking.records import Change, Changes, Part
from prunebench.results.report import document as doc
from prunebench.results.report.stored import ReportedRun

ORDER: tuple[Part, ...] = ("letterbox", "retraining", "pruning", "qat", "activation", "int8")
DIVIDED: tuple[Part, ...] = ("retraining", "pruning")


def changes(run: ReportedRun, m: Messages) -> doc.Section | None:
    """The parts of each variant's change, ``None`` where nothing was changed."""
    found = {story.variant: story for story in run.ranking.changes}
    if not found:
        return None
    seen = {change.part for story in found.values() for change in story.parts}
    columns = [p for p in ORDER if p in seen or (p in DIVIDED and "undivided" in seen)]
    rows = [_row(run, found[row.name], columns, m) for row in run.ranking.rows if row.name in found]
    heads = doc.titles(m, "variant", *(f"change_{part}#" for part in columns), "judged_against")
    return doc.section(
        "changes",
        m,
        m("changes.how"),
        doc.table(m("changes.caption"), heads, rows),
        m("changes.undivided") if "undivided" in seen else None,
    )


def _row(
    run: ReportedRun, story: Changes, columns: list[Part], m: Messages
) -> tuple[doc.Cell, ...]:
    parts = {change.part: change for change in story.parts}
    cells: list[doc.Cell | str | None] = [story.variant]
    for part in columns:
        if "undivided" not in parts or part not in DIVIDED:
            cells.append(_cell(parts[part], m) if part in parts else None)
        elif part == DIVIDED[0]:
            together = m("changes.together", change=points(parts["undivided"].gain, signed=True))
            cells.append(doc.Cell(together, "open", len(DIVIDED)))
    return doc.cells(*cells, run.ranking.row(story.variant).judged_against)


def _cell(change: Change, m: Messages) -> doc.Cell:
    text = points(change.gain, signed=True)
    if not change.shown:
        return doc.Cell(m("change.not_shown", change=text), "open")
    return doc.Cell(text, "good" if change.gain.estimate > 0 else "bad")
