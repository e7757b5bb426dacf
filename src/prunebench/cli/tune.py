"""`prunebench tune`."""

from __future__ import annotations

from typing import Annotated

import typer

from prunebench.cli.options import JsonOption, RunArgument, app, existing_run, show, show_stage
from prunebench.config.sections import MOST_THREADS


@app.command()
def tune(
    run: RunArgument,
    variant: Annotated[str, typer.Argument(help="Its variant to tune.")],
    threads: Annotated[
        list[int] | None,
        typer.Option(min=1, max=MOST_THREADS, help="Other thread counts that may be taken."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find onnxruntime's fastest session settings for a variant on this host."""
    from prunebench.cli.views.tune import tune_view
    from prunebench.operating.tuning import run as module

    tuned = module.tune(existing_run(run), variant, threads or (), show_stage)
    show(tuned, tune_view(tuned), as_json=as_json)
