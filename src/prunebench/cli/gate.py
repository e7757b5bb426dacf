"""`prunebench gate`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from prunebench.cli.options import JsonOption, app, show, show_stage
from prunebench.common.errors import RegressionFound


@app.command()
def gate(
    candidate: Annotated[
        str, typer.Argument(help="RUNFOLDER:VARIANT, or RUNFOLDER for its best-ranked variant.")
    ],
    baseline: Annotated[str, typer.Argument(help="What it may not be worse than, given alike.")],
    latency_percent: Annotated[float, typer.Option(min=0, help="Slowdown allowed, in percent.")] = (
        3.0
    ),
    map50_loss: Annotated[
        float, typer.Option(min=0, max=1, help="Loss of mAP50, or top-1, allowed.")
    ] = 0.02,
    device: Annotated[
        str | None, typer.Option(help="Judge by what this device measured; nothing is run here.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a candidate beside its baseline; exit 4 where it is shown to be worse."""
    from prunebench.cli.views.gate import gate_view
    from prunebench.operating.gate.decision import GateLimits, decision_sentence
    from prunebench.operating.gate.on_device import gate_on_device
    from prunebench.operating.gate.run import run_gate

    limits = GateLimits(latency_percent=latency_percent, map50_loss=map50_loss)
    if device is not None:
        report = gate_on_device(candidate, baseline, device, limits)
    else:
        with tempfile.TemporaryDirectory(prefix="prunebench-gate-") as folder:
            report = run_gate(candidate, baseline, limits, Path(folder), show_stage)
    show(report, gate_view(report), as_json=as_json)
    if not report.result.passed:
        raise RegressionFound(decision_sentence(report.result))
