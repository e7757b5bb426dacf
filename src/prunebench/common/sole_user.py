"""An output folder belongs to one run at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from prunebench.common.errors import OutputError
from prunebench.common.files import check_output_folder

LOCK_FILE = ".lock"


@contextlib.contextmanager
def sole_user(folder: Path) -> Iterator[None]:
    """Hold ``folder`` until this process ends; OutputError where it is taken or read-only."""
    check_output_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK_FILE)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise OutputError(
            "another run is writing to this folder right now",
            where=folder,
            fix="wait for it to end or choose another folder with --out",
        ) from error
    try:
        yield
    finally:
        lock.release()


def check_not_taken(folder: Path) -> None:
    """OutputError where another run holds ``folder``; makes nothing where none ever did."""
    if (folder / LOCK_FILE).exists():
        with sole_user(folder):
            pass
