"""Where a finished run goes, tried before any work: what is found out only then costs hours.

The MLflow server is asked by step ``destinations``, in a child process as the logging itself.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from prunebench.common.errors import ConfigError, PrunebenchError
from prunebench.common.records import Record
from prunebench.config.mlflow import MlflowConfig, require_mlflow
from prunebench.operating.mlflow import ENVIRONMENT, reason_of
from prunebench.operating.store.runs import open_store
from prunebench.steps.child import run_child
from prunebench.steps.events import Emit, announce, stage

STEP = "destinations"


class Request(Record):
    """Input of the step."""

    mlflow: MlflowConfig


class Answered(Record):
    """The server that did."""

    uri: str


def check_destinations(store: str | None, mlflow: MlflowConfig | None, out: Path) -> None:
    """Refuse a store that cannot be written, or an MLflow server that takes nothing.

    Raises:
        ConfigError: With what it says.
        InputError: The URL is not that of a store.
    """
    if store is not None:
        stage(f"trying the store {store}")
        try:
            open_store(store, out).try_writing()
        except (OSError, PrunebenchError) as error:
            fix = "correct the URL, or leave it out"
            raise ConfigError(str(error).rstrip("."), where="store", fix=fix) from error
    if mlflow is not None:
        require_mlflow()
        stage(f"asking {mlflow.uri} whether it answers")
        with tempfile.TemporaryDirectory(prefix="prunebench-mlflow-") as folder:
            request = Request(mlflow=mlflow)
            run_child(STEP, request, Path(folder), threads=1, on_event=announce, env=ENVIRONMENT)


def run(request: Request, workdir: Path, emit: Emit) -> Answered:
    """Ask the server for the experiment, as logging does first."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException

    settings = request.mlflow
    try:
        MlflowClient(tracking_uri=settings.uri).get_experiment_by_name(settings.experiment)
    except (MlflowException, RequestException) as error:
        raise ConfigError(
            f"{settings.uri} {reason_of(error, 'did not answer as MLflow does')}",
            where="mlflow.uri",
            fix="start the server, correct the address, or leave the section out: "
            "`prunebench mlflow RUN` logs a run later",
        ) from error
    return Answered(uri=settings.uri)
