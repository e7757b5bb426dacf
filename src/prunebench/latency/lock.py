"""One measurement at a time on a host, whoever starts it.

An operating system lock on a file in the temporary folder; it ends with its process, however
that ends. A file beside it says who holds it, for the sentence a waiting run prints.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

POLL_S = 0.5
"""Rare enough that a waiting run does not disturb the one that measures."""

ANYONE_MAY_WRITE = 0o666


@contextlib.contextmanager
def host_lock(
    who: str, on_wait: Callable[[str], None], *, folder: Path | None = None
) -> Iterator[None]:
    """Hold the host's measuring lock; wait for it when another process has it.

    It is not reentrant: holding it twice in one thread would wait for ever.

    Args:
        who: Name of the run, shown to those who wait for it.
        on_wait: Called once, with a sentence that says for whom this run waits.
        folder: Where the lock lies; the temporary folder of the host by default.
    """
    folder = folder or Path(tempfile.gettempdir())
    holder = folder / "prunebench-measuring.json"
    lock = FileLock(folder / "prunebench-measuring.lock", mode=ANYONE_MAY_WRITE)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        on_wait(_waiting_for(holder))
        lock.acquire(poll_interval=POLL_S)
    try:
        _sign(holder, who)
        yield
    finally:
        with contextlib.suppress(OSError):
            holder.unlink()
        lock.release()


def _sign(holder: Path, who: str) -> None:
    signature = {"pid": os.getpid(), "who": who, "since": time.time()}
    # Another user's file, left by a killed run in a sticky folder, may be impossible to replace;
    # the lock is held all the same, only the sentence of those who wait says less.
    with contextlib.suppress(OSError):
        partial = holder.with_suffix(f".{os.getpid()}.partial")
        partial.write_text(json.dumps(signature), encoding="utf-8")
        partial.replace(holder)


def _waiting_for(holder: Path) -> str:
    try:
        held = json.loads(holder.read_text(encoding="utf-8"))
        since = time.strftime("%H:%M:%S", time.localtime(held["since"]))
        whom = f"{held['who']} (process {held['pid']}, measuring since {since})"
    except (OSError, ValueError, KeyError):
        whom = "another run"
    return f"This host measures one run at a time: waiting for {whom}."
