"""`prunebench doctor`."""

from __future__ import annotations

import typer

from prunebench.cli.options import JsonOption, app, show
from prunebench.common.errors import EXIT_FAILED


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Say what on this machine would falsify a measurement; exit 1 where something is bad."""
    from prunebench.cli.views.doctor import doctor_view
    from prunebench.measuring.host.doctor import examine

    findings = examine()
    show([finding._asdict() for finding in findings], doctor_view(findings), as_json=as_json)
    if any(finding.level == "bad" for finding in findings):
        raise typer.Exit(EXIT_FAILED)
