"""`prunebench doctor`."""

from __future__ import annotations

from prunebench.cli.options import JsonOption, app, show


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Say what on this machine would falsify a measurement."""
    from prunebench.cli.views.doctor import doctor_view
    from prunebench.measuring.host.doctor import examine

    findings = examine()
    show([finding._asdict() for finding in findings], doctor_view(findings), as_json=as_json)
