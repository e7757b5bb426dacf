"""What on this machine would falsify a measurement."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from prunebench.measuring.host.doctor import Finding

STYLES = {"bad": "bold red", "warn": "yellow", "ok": "green"}  # By level, the worst first.


def doctor_view(findings: Sequence[Finding]) -> Table:
    """What was found on this machine, the worst first."""
    title = "What could falsify a measurement here"
    table = Table("level", "topic", "finding", title=title, title_justify="left")
    for level, style in STYLES.items():
        for finding in findings:
            if finding.level == level:
                table.add_row(Text(level, style=style), finding.topic, Text(finding.sentence))
    return table
