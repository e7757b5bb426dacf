"""What a gate compared, found and decided."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from prunebench.operating.gate.run import GateReport

STANDING_STYLES = {"holds": "green", "suspected": "red", "not shown": "yellow"}


def gate_view(report: GateReport) -> RenderableType:
    """What a gate compared, found and decided."""
    how = "measured side by side"
    if report.method == "stored run":
        how = "its file is gone, so compared with its stored rounds by the reference model"
    result = report.result
    lines = [
        Text(f"Candidate: {report.candidate}"),
        Text(f"Baseline: {report.baseline} ({how})"),
        *(Text(f"  {f.sentence}", style=STANDING_STYLES[f.standing]) for f in result.findings),
    ]
    if result.confirmation:
        lines.append(Text("Measured again:"))
        lines += [
            Text(f"  {f.sentence}", style=STANDING_STYLES[f.standing]) for f in result.confirmation
        ]
    lines += [Text(note, style="yellow") for note in report.notes]
    style = "bold green" if result.passed else "bold red"
    lines.append(Text(f"{'Passed' if result.passed else 'Failed'}: {result.sentence}", style=style))
    return Group(*lines)
