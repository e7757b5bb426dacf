"""One measurement at a time on a host, across all users and runs.

Operating system locks on files in the temporary folder; they end with their process. A run that
measures holds the measuring lock; a step that works (a training, an export) takes it only to sign
in with a lock file of its own. So new work waits for a measurement, a measurement waits for the
work that has begun, and neither starves the other. A file beside the lock says who measures.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from prunebench.common.cores import running_on
from prunebench.measuring.host.fingerprint import cpus_of
from prunebench.measuring.host.sensors import Sensors
from prunebench.steps.ended import sleep_unless_ended

if TYPE_CHECKING:
    from prunebench.config.sections import CoreClass

POLL_S = 0.5  # Rare enough that a waiting run does not disturb the one that measures.
GRACE_S = 1.0  # Signing in takes a moment: only who holds a lock longer is worth a sentence.
ANYONE_MAY_WRITE = 0o666

LOCK_FILE = "prunebench-measuring.lock"
HOLDER_FILE = "prunebench-measuring.json"

OnWait = Callable[[str], None]


@contextlib.contextmanager
def host_lock(who: str, on_wait: OnWait, *, folder: Path | None = None) -> Iterator[None]:
    """Hold the host's lock, not reentrant; wait for another measurement and for work under way.

    ``who`` names the run to those who wait, ``on_wait`` gets a sentence: for whom this run does.
    """
    folder = folder or Path(tempfile.gettempdir())
    holder = folder / HOLDER_FILE
    with _acquired(folder / LOCK_FILE, lambda: on_wait(_waiting_for(holder))):
        _sign(holder, who)
        try:
            _wait_for_work(folder, on_wait)
            yield
        finally:
            with contextlib.suppress(OSError):
                holder.unlink()


@contextlib.contextmanager
def timing_on_host(cores: CoreClass, who: str, tell: Callable[[str], None]) -> Iterator[None]:
    """Hold the host's lock as ``host_lock`` while this process times something on these cores.

    ``tell`` gets a sentence: for whom this waits, and that the CPU was throttled.
    """
    with host_lock(who, tell), running_on(cpus_of(cores)):
        sensors = Sensors()
        yield
        sensors.look()
        if sensors.throttled:
            tell(f"This CPU was throttled while it timed {who}.")


@contextlib.contextmanager
def working_on_host(on_wait: OnWait, *, folder: Path | None = None) -> Iterator[None]:
    """Work on the host while nobody measures; ``on_wait`` gets a sentence that says who does."""
    folder = folder or Path(tempfile.gettempdir())
    name = f"prunebench-working-{os.getpid()}-{uuid.uuid4().hex[:8]}.lock"
    working = FileLock(folder / name, mode=ANYONE_MAY_WRITE)
    with _acquired(folder / LOCK_FILE, lambda: on_wait(_waiting_for(folder / HOLDER_FILE))):
        working.acquire()
    try:
        yield
    finally:
        working.release()
        with contextlib.suppress(OSError):
            (folder / name).unlink()


@contextlib.contextmanager
def using_card(
    number: int, uuid: str, who: str, on_wait: OnWait, *, folder: Path | None = None
) -> Iterator[None]:
    """Have a GPU alone among all runs of this host; ``on_wait`` gets a sentence: for whom it waits.

    A card is known by its ``uuid``: processes may number cards differently.
    """
    folder = folder or Path(tempfile.gettempdir())
    lock = folder / f"prunebench-gpu-{uuid}.lock"
    holder = lock.with_suffix(".json")

    def wait() -> None:
        whom = _holding(holder, "training since")
        on_wait(f"GPU {number} trains one network at a time: waiting for {whom}.")

    with _acquired(lock, wait):
        _sign(holder, who)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                holder.unlink()


@contextlib.contextmanager
def _acquired(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    lock = FileLock(path, mode=ANYONE_MAY_WRITE)
    try:
        lock.acquire(timeout=GRACE_S, poll_interval=GRACE_S / 10)
    except Timeout:
        on_wait()
        _acquire_unless_ended(lock)
    try:
        yield
    finally:
        lock.release()


def _acquire_unless_ended(lock: FileLock) -> None:
    while True:
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=0)
            return
        sleep_unless_ended(POLL_S)


def _wait_for_work(folder: Path, on_wait: OnWait) -> None:
    """Wait until every step that signed in has ended; a killed one's file is only left over."""
    for path in sorted(folder.glob("prunebench-working-*.lock")):
        pid = path.name.split("-")[2]
        sentence = f"Waiting for a training or export of process {pid} to end before measuring."
        with contextlib.suppress(OSError), _acquired(path, functools.partial(on_wait, sentence)):
            path.unlink()


def _sign(holder: Path, who: str) -> None:
    signature = {"pid": os.getpid(), "who": who, "since": time.time()}
    # Another user's file, left by a killed run in a sticky folder, may be impossible to replace;
    # the lock is held all the same, only the sentence of those who wait says less.
    with contextlib.suppress(OSError):
        partial = holder.with_suffix(f".{os.getpid()}.partial")
        partial.write_text(json.dumps(signature), encoding="utf-8")
        partial.replace(holder)


def _waiting_for(holder: Path) -> str:
    whom = _holding(holder, "measuring since")
    return f"This host measures one run at a time: waiting for {whom}."


def _holding(holder: Path, doing: str) -> str:
    try:
        held = json.loads(holder.read_text(encoding="utf-8"))
        since = time.strftime("%H:%M:%S", time.localtime(held["since"]))
        return f"{held['who']} (process {held['pid']}, {doing} {since})"
    except (OSError, ValueError, KeyError):
        return "another run"
