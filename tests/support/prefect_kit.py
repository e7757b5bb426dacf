"""`prunebench serve`, really started, and its API asked as the UI asks it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from tests.conftest import ROOT

STARTUP_S = 240
RUN_S = 2400 if os.environ.get("SCREENSHOTS") else 400
ENDING_S = 40
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")

HOOK = '''
"""Writes every address this process connects to into a file of its own."""
import os, sys

def hook(event, arguments, folder=os.environ["CONNECTIONS"]):
    if event == "socket.connect":
        address = arguments[1]
    elif event == "socket.getaddrinfo":
        address = arguments[:2]
    else:
        return
    with open(f"{folder}/{os.getpid()}", "a") as out:
        out.write(f"{address!r}\\t{sys.argv[:4]!r}\\n")

sys.addaudithook(hook)
'''


class Served(NamedTuple):
    """What runs below ``prunebench serve``.

    Attributes:
        process: `prunebench serve` itself.
        address: Of the UI, as it printed it.
        environment: Of clients of the server.
        home: Prefect's folder, with the logs.
        connections: Folder with a file per process of the addresses it connected to.
    """

    process: subprocess.Popen[str]
    address: str
    environment: dict[str, str]
    home: Path
    connections: Path

    @property
    def worker(self) -> psutil.Process:
        """The worker's process; waited for while it is started again."""
        return self._program("worker")

    @property
    def server(self) -> psutil.Process:
        """The server's process, likewise."""
        return self._program("server")

    def _program(self, word: str) -> psutil.Process:
        deadline = time.monotonic() + STARTUP_S
        while time.monotonic() < deadline:
            for child in psutil.Process(self.process.pid).children():
                with contextlib.suppress(psutil.Error):
                    if word in child.cmdline():
                        return child
            time.sleep(0.1)
        raise AssertionError(f"there is no {word}")

    def log(self) -> str:
        """What the worker printed."""
        return (self.home / "prunebench-worker-prunebench.log").read_text()

    def call(self, path: str, body: Any = None) -> Any:
        """Ask the server's API, as the UI does."""
        request = urllib.request.Request(
            f"{self.address}/api/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        for left in reversed(range(5)):
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    text = answer.read()
                break
            except urllib.error.HTTPError as error:
                # The database is busy: Prefect's own client asks again, too.
                if error.code != HTTPStatus.SERVICE_UNAVAILABLE or not left:
                    raise
                time.sleep(1)
        return json.loads(text) if text else None

    def start(self, deployment: str, parameters: dict[str, Any], **changes: Any) -> str:
        """Start a flow run of a deployment; gives its path in the API."""
        found = self.call(f"deployments/name/{deployment}")
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}, **changes}
        made = self.call(f"deployments/{found['id']}/create_flow_run", body)
        return f"flow_runs/{made['id']}"

    def wait_for(self, flow_run: str, *wanted: str) -> dict[str, Any]:
        """The state a flow run has ended in, which must be one of ``wanted``."""
        deadline = time.monotonic() + RUN_S
        while (state := self.call(flow_run)["state"])["type"] not in ENDED:
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.2)
        assert state["type"] in wanted, f"{state}\n{self.log()}"
        return dict(state)


@contextlib.contextmanager
def served(
    home: Path, allowed: Path, *, folder: Path = ROOT / "deployments", **variables: str
) -> Iterator[Served]:
    """Start `prunebench serve` on a free port, its flows allowed to reach ``allowed``.

    It applies ``folder``; ``variables`` are further environment variables of everything below it.
    """
    connections = home / "connections"
    connections.mkdir(parents=True)
    (home / "sitecustomize.py").write_text(HOOK)
    port = free_port()
    environment = {
        **os.environ,
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PRUNEBENCH_ALLOWED_ROOTS": os.pathsep.join((str(ROOT), str(allowed))),
        "PYTHONPATH": os.pathsep.join((str(home), os.environ.get("PYTHONPATH", ""))),
        "CONNECTIONS": str(connections),
    }
    for name in ("PREFECT_API_DATABASE_CONNECTION_URL", "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"):
        environment.pop(name, None)
    # Prefect counts the runs of a CI on its own accord: here it has to be told not to.
    environment.pop("CI", None)
    # A worker asks every ten seconds else, and a test has nothing to do meanwhile.
    environment["PREFECT_WORKER_QUERY_SECONDS"] = "1"
    environment |= variables
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "serve", str(folder), "--port", str(port)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    # A server that does not come up is killed, or its line would be waited for for ever.
    timer = threading.Timer(STARTUP_S, process.kill)
    timer.start()
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        timer.cancel()
        assert line.startswith("Prefect UI: "), (home / "prunebench-server.log").read_text()
        address = line.removeprefix("Prefect UI: ").strip()
        yield Served(process, address, environment, home, connections)
    finally:
        timer.cancel()
        end(process)


def end(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """End `prunebench serve` as Ctrl-C does; gives what it left alive, which is then killed."""
    if process.poll() is not None:
        return []
    below = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=ENDING_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _, left = psutil.wait_procs(below, timeout=1)
    alive = []
    for one in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            # An orphan that has ended waits for the host's first process to take note of it.
            if one.status() != psutil.STATUS_ZOMBIE:
                alive.append(one)
                one.kill()
    return alive


def free_port() -> int:
    """A port nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def descendants(process: psutil.Process) -> list[psutil.Process]:
    """What a process started and is alive, however deep; each must have a command line."""
    found = []
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if child.cmdline():
                found.append(child)
    return found
