"""The commands that pass a finished run on: to the registry, to other hosts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prunebench.cli.common import (
    RunsOption,
    StoreOption,
    app,
    existing_run,
)


@app.command()
def promote(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    variant: Annotated[str, typer.Argument(help="Its variant that is in use from now on.")],
    registry: Annotated[Path, typer.Option(help="Folder of the registry.")] = Path("registry"),
) -> None:
    """Put a variant into the registry: what is in it is measured again every night."""
    from prunebench import registry as module

    entry = module.promote(existing_run(run), variant, registry)
    typer.echo(f"{entry.name}: {entry.variant} of {entry.run}, sha256 {entry.onnx_sha256}")


@app.command()
def push(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    store: StoreOption,
) -> None:
    """Copy a run to a store, for other hosts to take it from."""
    from prunebench.transfer import open_store, push_run

    folder = existing_run(run)
    push_run(folder, open_store(store, folder.parent))
    typer.echo(folder.name)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="Name of a run in the store.")],
    store: StoreOption,
    out: RunsOption = Path("runs"),
) -> None:
    """Take a run from a store, to measure it again on this host."""
    from prunebench.transfer import fetch_run, open_store

    home = out.expanduser().resolve()
    typer.echo(fetch_run(name, open_store(store, home), home))
