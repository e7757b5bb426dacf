"""`prunebench mlflow`."""

from __future__ import annotations

from typing import Annotated

import typer

from prunebench.cli.options import RunArgument, app, config_from, existing_run, tell
from prunebench.common.errors import ConfigError
from prunebench.steps.events import line


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

    file = existing_run(run) / CONFIG_FILE
    flags = {"mlflow.uri": uri, "mlflow.experiment": experiment, "mlflow.models": models}
    # Without a server the other options would make a section that lacks one.
    known = uri is not None or config_from(file, {}).mlflow is not None
    settings = config_from(file, flags).mlflow if known else None
    if settings is None:
        raise ConfigError("the run names no server", where=file, fix="give --uri")
    typer.echo(log_to_mlflow(run, settings, lambda event: tell(line(event))).url)
