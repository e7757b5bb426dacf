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
    """URL of the history that a run's folder is recorded in.

    Raises:
        InputError: ``folder`` is not a run folder.
    """
    return read_run_config(folder).history or default_url(folder.resolve().parent)


def open_history(runs: Sequence[str], url: str | None, out: Path) -> Store:
    """Open the history that runs are looked up in.

    Args:
        url: Its URL; ``None``: that of the first folder among ``runs``, else the one in ``out``.

    Raises:
        InputError: It cannot be opened, or there is none and no folder to fill it from.
    """
    folders = [Path(run) for run in runs if is_run_folder(run)]
    if url is None:
        url = history_url(folders[0]) if folders else default_url(out)
    return Store(url, create=bool(folders))


def recorded(store: Store, run: str) -> str:
    """A run's name or number in the history; a folder is recorded where it is not there yet.

    Raises:
        InputError: The folder's run is not finished.
    """
    return str(record_run(store, Path(run).resolve()).id) if is_run_folder(run) else run


def compare_given(
    before: str, after: str, *, url: str | None, out: Path, across_hosts: bool
) -> RunComparison:
    """Compare two runs; see ``open_history`` for where they are looked up.

    Raises:
        InputError: A run is unknown or not finished, or their fingerprints differ and
            ``across_hosts`` is off.
    """
    with open_history((before, after), url, out) as store:
        first, second = recorded(store, before), recorded(store, after)
        return compare_runs(store, first, second, across_hosts=across_hosts)
