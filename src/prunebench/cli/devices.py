"""`prunebench devices`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prunebench.cli.options import JsonOption, RunArgument, app, existing_run, show


@app.command()
def devices(
    run: RunArgument,
    add: Annotated[Path, typer.Option(help="Results file that a kit wrote on a device.")],
    name: Annotated[
        str | None, typer.Option(help="Name of its column; default: the device's host name.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Add what a kit measured on a device to the run it was made of."""
    from prunebench.cli.views.ranking import run_ranking_view
    from prunebench.operating.kit.results import add_results

    column = add_results(existing_run(run), add, name)
    view = "" if column.ranking is None else run_ranking_view(column.ranking)
    show(column, f"{column.name}:", view, as_json=as_json)
