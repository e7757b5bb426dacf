"""`prunebench audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prunebench.cli.options import JsonOption, app, show


@app.command()
def audit(
    subjects: Annotated[
        list[str], typer.Argument(help="Checkpoints, ONNX files or bare parameter counts.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Say what each file, or each number of parameters, is."""
    from prunebench.cli.views.audit import audit_view
    from prunebench.variants.audit import audit_file, audit_number

    findings = []
    for subject in subjects:
        digits = subject.replace(",", "").replace("_", "")
        is_number = digits.isdigit()
        findings.append(audit_number(int(digits)) if is_number else audit_file(Path(subject)))
    show(findings, audit_view(findings), as_json=as_json)
