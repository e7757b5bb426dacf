"""`prunebench mlflow`."""

from __future__ import annotations

from typing import Annotated

import typer

from prunebench.cli.options import RunArgument, app, config_from, existing_run
from prunebench.common.errors import ConfigError


@app.command()
def mlflow(
    run: RunArgument,
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
    from prunebench.results.run_folder import CONFIG_FILE

    flags = {"mlflow.uri": uri, "mlflow.experiment": experiment, "mlflow.models": models}
    settings = config_from(existing_run(run) / CONFIG_FILE, flags).mlflow
    if settings is None:
        raise ConfigError("the run names no server", where="mlflow.uri", fix="give --uri")
    typer.echo(log_to_mlflow(run, settings).url)
