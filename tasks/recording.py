"""The tasks that put a finished run on record: in the history, and in MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import task
from sqlalchemy.exc import DBAPIError

from prunebench.history import Recorded, Store, record_run
from prunebench.mlflow_log import Logged, log_to_mlflow
from prunebench.mlflow_settings import MlflowConfig
from tasks.variants import IO_RETRIES, RETRY_DELAY_S


def is_out_of_reach(task: Any, task_run: Any, state: Any) -> bool:
    """Retry what another attempt can mend: files or a database that do not answer just now."""
    error = state.result(raise_on_failure=False)
    return any(isinstance(e, (OSError, DBAPIError)) for e in (error, error.__cause__))


@task(
    task_run_name="record",
    retries=IO_RETRIES,
    retry_delay_seconds=RETRY_DELAY_S,
    retry_condition_fn=is_out_of_reach,
    persist_result=False,
)
def record(url: str, folder: str) -> Recorded:
    """Record a finished run, once however often it is called."""
    with Store(url) as store:
        return record_run(store, Path(folder))


@task(task_run_name="log to MLflow", persist_result=False)
def log(folder: str, settings: MlflowConfig) -> Logged:
    """Log a finished run to an MLflow server, once however often it is called."""
    return log_to_mlflow(Path(folder), settings)
