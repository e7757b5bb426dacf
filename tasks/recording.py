"""The tasks that put a finished run on record: in the history, and in MLflow."""

from __future__ import annotations

from pathlib import Path

from prefect import task

from prunebench.config.mlflow import MlflowConfig
from prunebench.operating.mlflow import Logged, log_to_mlflow
from prunebench.results.history.recording import Recorded, record_run
from prunebench.results.history.store import Store
from tasks.retries import retried_task


@retried_task(task_run_name="record")
def record(url: str, folder: str) -> Recorded:
    """Record a finished run, once however often it is called."""
    with Store(url) as store:
        return record_run(store, Path(folder))


@task(task_run_name="log to MLflow", persist_result=False)
def log(folder: str, settings: MlflowConfig) -> Logged:
    """Log a finished run to an MLflow server, once however often it is called."""
    return log_to_mlflow(Path(folder), settings)
