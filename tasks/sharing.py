"""Tasks that carry a run to the store and from it."""

from __future__ import annotations

import functools
from pathlib import Path

from prefect import task

from prunebench.operating.store.runs import fetch_run, open_store, push_run
from tasks.variants import is_io_error

RETRIES = 6
RETRY_DELAY_S = 10
"""Together a minute: a store that restarts is waited for."""

store_task = functools.partial(
    task,
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAY_S,
    retry_condition_fn=is_io_error,
    persist_result=False,
)
"""A task that waits for the store."""


@store_task(task_run_name="copy the run to the store")
def push(folder: str, url: str, cache_gb: float) -> None:
    """Copy a finished run to the store; what arrived already is not sent again."""
    run = Path(folder)
    push_run(run, open_store(url, run.parent, cache_gb))


@store_task(task_run_name="take {name} from the store")
def fetch(name: str, url: str, out: str, cache_gb: float) -> str:
    """Make a run of the store a run folder of this host; gives the folder."""
    home = Path(out).expanduser().resolve()
    return str(fetch_run(name, open_store(url, home, cache_gb), home))
