"""`prunebench promote`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prunebench.cli.options import RunArgument, app, existing_run


@app.command()
def promote(
    run: RunArgument,
    variant: Annotated[str, typer.Argument(help="Its variant that is in use from now on.")],
    registry: Annotated[Path, typer.Option(help="Folder of the registry.")] = Path("registry"),
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Even where its run speaks against it.")
    ] = False,
) -> None:
    """Put a variant into the registry: what is in it is measured again every night."""
    from prunebench.operating import registry as module

    entry = module.promote(existing_run(run), variant, registry, anyway=anyway)
    typer.echo(f"{entry.name}: {entry.variant} of {entry.run}, sha256 {entry.onnx_sha256}")
