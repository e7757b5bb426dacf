"""A Prefect server, its deployments and a worker, for as long as a block runs.

A server or a worker that is killed is started again. Runs outlast a server that restarts; those of
a killed worker end with it, since they could not be cancelled, and are marked as crashed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings
from prefect.states import Crashed

from flows.deploying import ServerChange, deploy
from flows.deployment_files import Operations
from flows.running import CONSOLE_LEVEL
from flows.temporary_server import STARTUP_S
from prunebench.common.errors import InputError, PrunebenchError

HOST = "127.0.0.1"
"""The server asks for no password, so it answers this host alone."""

ENDING_S = 0.3
"""Time the workers, and then the server, have to end by themselves before they are killed."""

KILLED_S = 15
"""Time in which what was killed is gone, where the host is busy."""

TAIL_LINES = 15
EARLY_S = 10.0
"""What ends sooner than this after its start has an error of its own."""

LEASES = "prefect.server.concurrency.lease_storage.filesystem"
"""Keeps who holds which limit in files: a run whose lease a restarted server forgot is ended."""

WORKER_GONE = "Its worker was killed. Run it again: what was finished is not repeated."

FLOW_RUN_VARIABLE = "PREFECT__FLOW_RUN_ID"
"""Names the flow run in the environment of its process."""

PR_SET_CHILD_SUBREAPER = 36
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Program:
    """The server or a worker, started again with the same arguments where it was killed."""

    def __init__(
        self, name: str, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> None:
        self.log = Path(PREFECT_HOME.value()) / f"prunebench-{name}.log"
        self._command = [sys.executable, "-m", "prefect", *arguments]
        self._folder = folder
        self._environment = environment
        self.log.unlink(missing_ok=True)
        self.start()

    def start(self) -> None:
        self.started_s = time.monotonic()
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                # Ctrl-C reaches this process alone, which then ends the others in order.
                start_new_session=True,
            )


class Serving(NamedTuple):
    """The address of the UI, what applying the deployments changed, the server and the workers."""

    address: str
    changes: list[ServerChange]
    programs: tuple[_Program, ...]

    def watch(self) -> None:
        """Block, and start again what was killed; an error is what ends as soon as it has begun."""
        while True:
            time.sleep(0.5)
            for program in self.programs:
                if program.process.poll() is None:
                    continue
                if time.monotonic() - program.started_s < EARLY_S:
                    tail = _tail(program.log)
                    raise PrunebenchError(f"{program.log.stem} ended by itself: {tail}")
                self._tell_crashed(_end_orphans(self.programs))
                program.start()

    def _tell_crashed(self, flow_runs: Sequence[str]) -> None:
        # A server that is gone too learns of it by their missing heartbeats.
        with (
            contextlib.suppress(httpx.HTTPError, ObjectNotFound),
            temporary_settings({PREFECT_API_URL: f"{self.address}/api"}),
            get_client(sync_client=True) as client,
        ):
            for flow_run in flow_runs:
                client.set_flow_run_state(flow_run, Crashed(message=WORKER_GONE))


@contextlib.contextmanager
def serving(operations: Operations, port: int) -> Iterator[Serving]:
    """Start a server, apply ``operations``, start a worker per process work pool.

    The server keeps its records in SQLite, or where ``PREFECT_API_DATABASE_CONNECTION_URL`` says.
    When the block ends, so does every process below this one, flow runs included.
    """
    _check_free(port)
    api = f"http://{HOST}:{port}/api"
    Path(PREFECT_HOME.value()).mkdir(parents=True, exist_ok=True)
    environment = {
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": LEASES,
        **os.environ,
        "PREFECT_API_URL": api,
        # Neither the server's nor the client's usage statistics.
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    # What runs there has no progress display, and its output goes to a file.
    environment.pop(CONSOLE_LEVEL, None)
    _adopt_orphans()
    started: list[_Program] = []

    def start(name: str, *arguments: str) -> None:
        started.append(_Program(name, arguments, operations.root, environment))

    with _ending(started):
        start("server", "server", "start", "--host", HOST, "--port", str(port))
        _wait_until_healthy(api, started[0])
        with temporary_settings({PREFECT_API_URL: api}):
            changes = deploy(operations, check=False)
        for pool in operations.work_pools:
            if pool.type == "process":
                # The queues of other devices are for the workers on those.
                queue = ("--pool", pool.name, "--work-queue", "default")
                start(f"worker-{pool.name}", "worker", "start", *queue)
        yield Serving(f"http://{HOST}:{port}", changes, tuple(started))


@contextlib.contextmanager
def ending_on_signals() -> Iterator[None]:
    """Let SIGTERM and a closed terminal end the block as Ctrl-C does.

    SIGINT itself is ignored in what a script starts in the background, unless it is asked for.
    """

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in ENDING_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _ending(started: Sequence[_Program]) -> Iterator[None]:
    """End ``started``, the last one first, and then whatever they leave behind."""
    try:
        yield
    finally:
        below = psutil.Process().children(recursive=True)
        # The workers tell the server of their end.
        for together in (started[1:], started[:1]):
            for program in together:
                program.process.terminate()
            deadline = time.monotonic() + ENDING_S
            for program in together:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    program.process.wait(timeout=max(0, deadline - time.monotonic()))
        _kill([*below, *psutil.Process().children(recursive=True)])


def _adopt_orphans() -> None:
    """Have what a killed worker leaves behind become this process's own, where Linux allows it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end_orphans(programs: Sequence[_Program]) -> list[str]:
    """End what killed programs left behind; gives the flow runs among it."""
    ours = {program.process.pid for program in programs}
    left, flow_runs = [], []
    for orphan in psutil.Process().children():
        if orphan.pid in ours:
            continue
        with contextlib.suppress(psutil.Error, KeyError):
            flow_runs.append(orphan.environ()[FLOW_RUN_VARIABLE])
        with contextlib.suppress(psutil.NoSuchProcess):
            left += [orphan, *orphan.children(recursive=True)]
    _kill(left)
    return flow_runs


def _kill(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=KILLED_S)


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


def _wait_until_healthy(api: str, server: _Program) -> None:
    deadline = time.monotonic() + STARTUP_S
    while time.monotonic() < deadline and server.process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            httpx.get(f"{api}/health", timeout=5).raise_for_status()
            return
        time.sleep(0.2)
    raise PrunebenchError(f"the Prefect server does not start: {_tail(server.log)}")


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"{' / '.join(lines[-TAIL_LINES:])} ({log})"
