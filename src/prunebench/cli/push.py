"""`prunebench push`."""

from __future__ import annotations

import typer

from prunebench.cli.options import RunArgument, StoreOption, app, existing_run, tell


@app.command()
def push(run: RunArgument, store: StoreOption) -> None:
    """Copy a run to a store, for other hosts to take it from."""
    from prunebench.operating.store.runs import damaged_files, open_store, push_run

    folder = existing_run(run)
    if damaged := damaged_files(folder):
        tell(f"Gone, or not what the run made, and copied as it is: {', '.join(damaged)}.")
    push_run(folder, open_store(store, folder.parent))
    typer.echo(folder.name)
