"""Tasks that copy a run to the store and from it."""

from __future__ import annotations

from pathlib import Path

from prunebench.operating.store.runs import fetch_run, open_store, push_run
from tasks.retries import retried_task


@retried_task(task_run_name="copy the run to the store")
def push(folder: str, url: str, cache_gb: float) -> None:
    """Copy a finished run to the store; what arrived already is not sent again."""
    run = Path(folder)
    push_run(run, open_store(url, run.parent, cache_gb))


@retried_task(task_run_name="take {name} from the store")
def fetch(name: str, url: str, out: str, cache_gb: float) -> str:
    """Make a run of the store a run folder of this host; gives the folder."""
    home = Path(out).expanduser().resolve()
    return str(fetch_run(name, open_store(url, home, cache_gb), home))
