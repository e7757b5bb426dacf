"""`prunebench kit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prunebench.cli.options import RunArgument, app, existing_run, tell


@app.command()
def kit(
    run: RunArgument,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write; default: RUN-kit.pyz here.")
    ] = None,
) -> None:
    """Write one file that measures a run's models on another device, with `python3 FILE`."""
    from prunebench.operating.kit.make import write_kit

    folder = existing_run(run)
    written = write_kit(folder, (out or Path(f"{folder.name}-kit.pyz")).absolute())
    typer.echo(written)
    tell(
        f"On the device: python3 {written.name}. It needs numpy and onnxruntime there, and "
        "opencv-python-headless to time whole frames."
    )
