"""`prunebench fetch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prunebench.cli.options import RunsOption, StoreOption, app


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="Name of a run in the store.")],
    store: StoreOption,
    out: RunsOption = Path("runs"),
) -> None:
    """Take a run from a store, to measure it again on this host."""
    from prunebench.operating.store.runs import fetch_run, open_store

    home = out.expanduser().resolve()
    typer.echo(fetch_run(name, open_store(store, home), home))
