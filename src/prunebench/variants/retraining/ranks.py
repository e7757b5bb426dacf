"""A training on several GPUs: its processes, and the one that started them.

Ultralytics starts a process per GPU by ``torch.distributed.run`` and gives it the trainer's class,
the network and the callbacks in a file. They end with the process that started them, which holds a
lock meanwhile, and leave the error that ended them in a file.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock
from ultralytics.utils import RANK

from prunebench.common.errors import PrunebenchError, error_of, values_of
from prunebench.common.files import write_atomically
from prunebench.common.text import first_line

FAULT = "fault.json"
LOCK = ".training.lock"


@contextlib.contextmanager
def starting_ranks(folder: Path) -> Iterator[None]:
    """Start and await processes of a training in ``folder``; their error is raised here."""
    fault = folder / FAULT
    fault.unlink(missing_ok=True)
    try:
        with FileLock(folder / LOCK):
            yield
    except subprocess.CalledProcessError as error:
        try:
            values = json.loads(fault.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            reason = f"one of its processes ended with {error.returncode}"
            raise RuntimeError(reason) from error
        raise (error_of(values) if "error" in values else RuntimeError(values["text"])) from error
    finally:
        fault.unlink(missing_ok=True)
        (folder / LOCK).unlink(missing_ok=True)


def leave_fault(folder: Path, error: Exception) -> None:
    """Leave what ended this process; the first one's stays, others only miss it."""
    fault = folder / FAULT
    if fault.is_file():
        return
    values = {"text": f"{type(error).__name__}: {first_line(error)}"}
    if isinstance(error, PrunebenchError):
        values = values_of(error)
    write_atomically(fault, json.dumps(values, default=str))


def end_with_starter(folder: Path) -> None:
    """In one of the processes: end it once whoever started it is gone, however that ended."""
    if RANK == -1:
        return

    def watch() -> None:
        with FileLock(folder / LOCK):
            os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def first_rank() -> bool:
    """Whether this process is the only one of its training, or the first."""
    return RANK in (-1, 0)
