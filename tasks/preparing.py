"""The task that checks every input before work starts."""

from __future__ import annotations

from prefect import task

from prunebench.config.loading import Config
from prunebench.experiment.prepare import Experiment, prepare


@task(task_run_name="prepare", persist_result=False)
def prepare_experiment(config: Config) -> Experiment:
    """Find, check and digest what the configuration names."""
    return prepare(config)
