"""Does pruning pay? Pruned variants against the cheap alternatives that need no pruning."""

from __future__ import annotations

from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.sentences import tell
from prunebench.results.ranking.controls import shippable
from prunebench.results.report import document as doc
from prunebench.results.report.stored import ReportedRun


def controls(run: ReportedRun, m: Messages) -> doc.Section | None:
    """Pruned variants that have shown nothing over a control; ``None`` without controls."""
    ranking = run.ranking
    known = [m(f"controls.{row.control}", name=row.name) for row in ranking.rows if row.control]
    if not known:
        return None
    how = m("controls.how", controls=m.listed(known))
    found = doc.items(tell(pair, ranking, m) for pair in ranking.against_controls)
    none = "controls.none" if shippable(ranking.rows) else "controls.nobody"
    if all(row.control or row.verdict == "unpruned" for row in ranking.rows):
        none = "controls.unmeasured"
    return doc.section("controls", m, how, found or m(none))
