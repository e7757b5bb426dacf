"""What a gate compared, found and decided."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from prunebench.operating.gate.decision import GateFinding, decision_sentence, finding_sentence
from prunebench.operating.gate.run import GateReport

STANDING_STYLES = {"holds": "green", "suspected": "red", "not shown": "yellow"}


def gate_view(report: GateReport) -> RenderableType:
    """What a gate compared, found and decided."""
    how = "measured side by side"
    if report.method == "stored run":
        how = "its file is gone, so compared with its stored rounds by the reference model"
    elif report.method == "on a device":
        how = "by what the device measured of both"
    result = report.result
    lines = [
        Text(f"Candidate: {report.candidate}"),
        Text(f"Baseline: {report.baseline} ({how})"),
        *_findings(result.findings),
    ]
    if result.confirmation:
        lines += [Text("Measured again:"), *_findings(result.confirmation)]
    lines += [Text(note, style="yellow") for note in report.notes]
    style = "bold green" if result.passed else "bold red"
    verdict = "Passed" if result.passed else "Failed"
    lines.append(Text(f"{verdict}: {decision_sentence(result)}", style=style))
    return Group(*lines)


def _findings(findings: Sequence[GateFinding]) -> list[Text]:
    return [
        Text(f"  {finding_sentence(one)}", style=STANDING_STYLES[one.standing]) for one in findings
    ]
