"""Runs as a command line names them: by their folder, or by a name or number of the history."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prunebench.results.history.compare import RunComparison, compare_runs
from prunebench.results.history.recording import record_run
from prunebench.results.history.store import Store, default_url
from prunebench.results.run_folder import CONFIG_FILE, read_run_config


def is_run_folder(run: str) -> bool:
    """Whether ``run`` is the folder of a run on this host."""
    return (Path(run) / CONFIG_FILE).is_file()


def history_url(folder: Path) -> str:
    """URL of the history that a run's folder is recorded in."""
    return read_run_config(folder).history or default_url(folder.resolve().parent)


def open_history(runs: Sequence[str], url: str | None, out: Path) -> Store:
    """Open the history at ``url``, else that of the first folder in ``runs``, else that in ``out``.

    ``InputError`` where it cannot be opened, or there is none and no folder to fill it from.
    """
    folders = [Path(run) for run in runs if is_run_folder(run)]
    if url is None:
        url = history_url(folders[0]) if folders else default_url(out)
    return Store(url, create=bool(folders))


def recorded(store: Store, run: str) -> str:
    """A run's name or number in the history; a folder is recorded where it is not there yet."""
    return str(record_run(store, Path(run).resolve()).id) if is_run_folder(run) else run


def compare_given(
    before: str, after: str, *, url: str | None, out: Path, across_hosts: bool
) -> RunComparison:
    """Compare two runs as ``compare_runs`` does, looked up where ``open_history`` does."""
    with open_history((before, after), url, out) as store:
        first, second = recorded(store, before), recorded(store, after)
        return compare_runs(store, first, second, across_hosts=across_hosts)
