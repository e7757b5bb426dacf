"""The commands that pass a finished run on: to the registry, to other hosts, to MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prunebench.cli.options import RunsOption, StoreOption, app, existing_run
from prunebench.common.errors import ConfigError
from prunebench.config.loading import load_config
from prunebench.results.run_folder import CONFIG_FILE


@app.command()
def promote(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    variant: Annotated[str, typer.Argument(help="Its variant that is in use from now on.")],
    registry: Annotated[Path, typer.Option(help="Folder of the registry.")] = Path("registry"),
) -> None:
    """Put a variant into the registry: what is in it is measured again every night."""
    from prunebench.operating import registry as module

    entry = module.promote(existing_run(run), variant, registry)
    typer.echo(f"{entry.name}: {entry.variant} of {entry.run}, sha256 {entry.onnx_sha256}")


@app.command()
def push(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    store: StoreOption,
) -> None:
    """Copy a run to a store, for other hosts to take it from."""
    from prunebench.operating.store.runs import open_store, push_run

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
    from prunebench.operating.store.runs import fetch_run, open_store

    home = out.expanduser().resolve()
    typer.echo(fetch_run(name, open_store(store, home), home))


@app.command()
def mlflow(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    uri: Annotated[
        str | None, typer.Option("--uri", help="Server; default: the run's own `mlflow.uri`.")
    ] = None,
    experiment: Annotated[str | None, typer.Option(help="Experiment there.")] = None,
    models: Annotated[
        bool | None, typer.Option("--models/--no-models", help="Send the ONNX files too.")
    ] = None,
) -> None:
    """Log a run to an MLflow server; one that is there already is not logged twice."""
    from prunebench.operating.mlflow import log_to_mlflow

    flags = {"mlflow": {"uri": uri, "experiment": experiment, "models": models}}
    settings = load_config(existing_run(run) / CONFIG_FILE, flags=flags).mlflow
    if settings is None:
        raise ConfigError("the run names no server", where="mlflow.uri", fix="give --uri")
    typer.echo(log_to_mlflow(run, settings).url)
