"""`prunebench selftest`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from prunebench.cli.options import JsonOption, app, show, show_stage


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
    from prunebench.cli.views.selftest import selftest_view
    from prunebench.measuring import selftest as module

    with tempfile.TemporaryDirectory(prefix="prunebench-selftest-") as folder:
        result = module.selftest(
            onnx,
            module.QUICK if quick else module.THOROUGH,
            Path(folder),
            repetitions=1 if quick else module.REPETITIONS,
            on_event=show_stage,
        )
    show(result, selftest_view(result), as_json=as_json)
