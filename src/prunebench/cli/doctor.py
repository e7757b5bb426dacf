"""`prunebench doctor`."""

from __future__ import annotations

import typer

from prunebench.cli.options import JsonOption, app, show
from prunebench.common.errors import EXIT_FAILED


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Say what on this machine would falsify a measurement; exit 1 where something is bad."""
    from prunebench.cli.views.doctor import doctor_view
    from prunebench.config.exporting import ExportConfig
    from prunebench.config.sections import ImageConfig, LatencyConfig
    from prunebench.measuring.host.doctor import Finding, examine
    from prunebench.results.messages.catalogue import Messages
    from prunebench.results.messages.observations import tell_passes
    from prunebench.variants.rewriting.choice import passes_for

    findings = examine()
    passes = passes_for(ExportConfig(), LatencyConfig(), ImageConfig().hw)
    if passes is not None:
        findings += [Finding("ok", "rewriting", said) for said in tell_passes(passes, Messages())]
    show([finding._asdict() for finding in findings], doctor_view(findings), as_json=as_json)
    if any(finding.level == "bad" for finding in findings):
        raise typer.Exit(EXIT_FAILED)
