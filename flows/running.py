"""Run the main flow by hand: from the command line, or from Python."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from flows.console import shown_progress, stderr_console
from prunebench.common.errors import PrunebenchError
from prunebench.common.sole_user import check_not_taken
from prunebench.config.loading import Config
from prunebench.experiment.duration import TimeLeft, parents_of, workload
from prunebench.steps.child import ending_children
from prunebench.steps.events import stage

if TYPE_CHECKING:
    from prunebench.variants.devices import Devices

CONSOLE_LEVEL = "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"


def set_up_prefect() -> None:
    """Settings of a run by hand, each only where the user has not set it.

    The log goes to the server alone: a terminal has the progress display, which says the same.
    Call it before Prefect is imported.
    """
    if "PREFECT_LOGGING_LEVEL" not in os.environ:
        os.environ.setdefault(CONSOLE_LEVEL, "CRITICAL")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    # A server is waited for some two minutes, also while its database does not answer: that is 500.
    os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", "6")
    os.environ.setdefault("PREFECT_CLIENT_RETRY_EXTRA_CODES", "500")


def check_other_hosts(config: Config) -> Devices | None:
    """Refuse what a run needs of other hosts and will not get, before it looks at the data.

    Returns what its trainings run on there, ``None`` where they run on this host.
    """
    from prunebench.experiment.inputs import output_folder
    from prunebench.operating.destinations import check_destinations

    check_destinations(config.store, config.mlflow, output_folder(config))
    if not config.devices and config.engine == "local":
        return None
    from tasks.dask_cluster import check_cluster
    from tasks.devices import check_devices

    check_devices(config)
    return check_cluster(config)


def run_shown(config: Config, console: Console, *, quiet: bool) -> Any:
    """Check the inputs, run the flow with its progress shown, and return its state."""
    with shown_progress(console, quiet=quiet) as clock:
        stage("checking the model, the data and the output folder")
        from prunebench.experiment.given_model import trained_on
        from prunebench.experiment.inputs import output_folder
        from prunebench.experiment.prepare import check, checked_already

        check_not_taken(output_folder(config))
        with trained_on(check_other_hosts(config)):
            checked = check(config)
        work, parents = workload(config, checked.variants), parents_of(checked.variants)
        clock.left = TimeLeft(work, parents, parallel=config.retrain.parallel_trainings)
        stage("starting Prefect")
        from flows.run_experiment import run_experiment
        from flows.temporary_server import prefect_server

        with prefect_server(), checked_already(checked):
            return run_experiment(config, return_state=True)


def run_to_folder(config: Config, *, quiet: bool = False) -> Path:
    """Run an experiment and return its folder; what ``prunebench.run_experiment`` calls."""
    set_up_prefect()
    # In a notebook an event loop runs in this thread, and Prefect would answer with coroutines.
    with ThreadPoolExecutor(max_workers=1) as pool, ending_children():
        state = pool.submit(run_shown, config, stderr_console(), quiet=quiet).result()
        return Path(pool.submit(result_of, state).result()["folder"])


def result_of(state: Any) -> Any:
    """What a flow left; its error, or a ``PrunebenchError``, where it failed."""
    if state.is_completed():
        return state.result()
    error = state.result(raise_on_failure=False)
    if isinstance(error, PrunebenchError):
        raise error
    raise PrunebenchError(str(error or state.message))
