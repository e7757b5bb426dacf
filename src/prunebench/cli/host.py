"""The commands that judge this host."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from prunebench.cli.options import JsonOption, app, print_json, show_stage, stdout_console


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Say what on this machine would falsify a measurement."""
    from prunebench.cli.views.plain import doctor_view
    from prunebench.measuring.host.doctor import examine

    findings = examine()
    if as_json:
        print_json([finding._asdict() for finding in findings])
        return
    stdout_console().print(doctor_view(findings))


@app.command()
def selftest(
    onnx: Annotated[
        Path | None, typer.Option("--onnx", help="Model to measure; default: a small built-in one.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="One short repetition (half a minute).")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what difference this host can tell: equal copies of a model, and known slowdowns."""
    from prunebench.cli.views.plain import selftest_view
    from prunebench.measuring import selftest as module

    with tempfile.TemporaryDirectory(prefix="prunebench-selftest-") as folder:
        result = module.selftest(
            onnx,
            module.QUICK if quick else module.THOROUGH,
            Path(folder),
            repetitions=1 if quick else module.REPETITIONS,
            on_event=show_stage,
        )
    if as_json:
        print_json(result.model_dump(mode="json"))
        return
    stdout_console().print(selftest_view(result))
