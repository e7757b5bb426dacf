"""`prunebench init`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from prunebench.cli.options import DataDirOption, app, show_stage, tell
from prunebench.common.errors import InputError


@app.command()
def init(
    model: Annotated[
        str, typer.Option("--model", "-m", help="Trained checkpoint (.pt) or network (.yaml).")
    ],
    data: Annotated[str, typer.Option("--data", "-d", help="Data YAML, 'scenes', 'neontrees'.")],
    file: Annotated[Path, typer.Option("--file", "-f", help="Configuration to write.")] = Path(
        "prunebench.yaml"
    ),
    data_dir: DataDirOption = Path("runs/.data"),
) -> None:
    """Look at a model and its data and write a commented configuration for them."""
    from prunebench.common.files import check_output_file, write_atomically
    from prunebench.experiment.first_config import first_config
    from prunebench.steps.events import listening

    if file.exists():
        raise InputError("the file exists already", where=file, fix="choose another with --file")
    check_output_file(file, "--file")
    with listening(show_stage):
        text = first_config(model, data, file=str(file), cache_dir=data_dir)
    write_atomically(file, text)
    typer.echo(file)
    tell(f"Next: prunebench run --config {shlex.quote(str(file))} --dry-run")
