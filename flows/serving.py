"""A Prefect server, its deployments and a worker, for as long as a block runs."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from flows.deploying import Change, deploy
from flows.operations import Operations
from flows.running import CONSOLE_LEVEL
from flows.server import STARTUP_S
from prunebench.errors import InputError, PrunebenchError

HOST = "127.0.0.1"
"""The server asks nobody for a password, so it answers this host alone."""

ENDING_S = 15
"""Time a process has to end by itself before it is killed."""

TAIL_LINES = 15


class Serving(NamedTuple):
    """What is running.

    Attributes:
        address: Of the UI.
        changes: What applying the deployments did.
        logs: The server's log, and one per work pool's worker.
        processes: The server and the workers.
    """

    address: str
    changes: list[Change]
    logs: tuple[Path, ...]
    processes: tuple[subprocess.Popen[bytes], ...]

    def wait(self) -> None:
        """Block until one of the processes ends, which none should.

        Raises:
            PrunebenchError: One has ended.
        """
        while all(process.poll() is None for process in self.processes):
            time.sleep(0.5)
        ended = [
            log
            for log, process in zip(self.logs, self.processes, strict=True)
            if process.poll() is not None
        ]
        raise PrunebenchError(f"{ended[0].stem} ended by itself: {_tail(ended[0])}")


@contextlib.contextmanager
def serving(operations: Operations, port: int) -> Iterator[Serving]:
    """Start a server on SQLite, apply ``operations``, start a worker per process work pool.

    When the block ends, so does every process below this one, flow runs included.

    Args:
        operations: What is deployed.
        port: Port of the server on this host.

    Raises:
        InputError: The port is taken.
        PrunebenchError: The server does not start.
    """
    _check_free(port)
    api = f"http://{HOST}:{port}/api"
    home = Path(PREFECT_HOME.value())
    home.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "PREFECT_API_URL": api,
        # Neither the server's nor the client's usage statistics.
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    # What runs there has no progress display, and its output goes to a file.
    environment.pop(CONSOLE_LEVEL, None)
    started: list[subprocess.Popen[bytes]] = []
    logs: list[Path] = []

    def start(name: str, arguments: Sequence[str]) -> None:
        log = home / f"prunebench-{name}.log"
        logs.append(log)
        with log.open("wb") as out:
            started.append(
                subprocess.Popen(
                    [sys.executable, "-m", "prefect", *arguments],
                    cwd=operations.root,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    # Ctrl-C reaches this process alone, which then ends the others in order.
                    start_new_session=True,
                )
            )

    with _ending(started):
        start("server", ["server", "start", "--host", HOST, "--port", str(port)])
        _wait_until_healthy(api, started[0], logs[0])
        with temporary_settings({PREFECT_API_URL: api}):
            changes = deploy(operations, check=False)
        for pool in operations.work_pools:
            if pool.type == "process":
                # The queues of other devices are for the workers on those.
                arguments = ["worker", "start", "--pool", pool.name, "--work-queue", "default"]
                start(f"worker-{pool.name}", arguments)
        yield Serving(f"http://{HOST}:{port}", changes, tuple(logs), tuple(started))


@contextlib.contextmanager
def ending_on_signals() -> Iterator[None]:
    """Let SIGTERM and a closed terminal end the block as Ctrl-C does."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {
        number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _ending(started: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """End ``started``, the last one first, and then whatever they leave behind."""
    try:
        yield
    finally:
        below = _descendants(started)
        for process in reversed(started):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=ENDING_S)
        below += _descendants(started)
        for process in (*started, *below):
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                process.kill()
        for process in started:
            process.wait()
        psutil.wait_procs(below, timeout=ENDING_S)


def _descendants(started: Sequence[subprocess.Popen[bytes]]) -> list[psutil.Process]:
    found = []
    for process in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            found += psutil.Process(process.pid).children(recursive=True)
    return found


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise InputError(
                f"port {port} is taken ({error.strerror})",
                where=HOST,
                fix="stop what uses it, or give another one with --port",
            ) from error


def _wait_until_healthy(api: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + STARTUP_S
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{api}/health", timeout=5):
            return
        time.sleep(0.2)
    raise PrunebenchError(f"the Prefect server does not start: {_tail(log)}")


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"{' / '.join(lines[-TAIL_LINES:])} ({log})"
