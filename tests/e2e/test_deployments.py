"""The deployments, for real: a server, a process worker, and a run through each deployment."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from prunebench.outcome import read_outcome
from tests.conftest import ROOT, share_steps, tiny_values

BIN = Path(sys.executable).parent
STARTUP_S = 120
RUN_S = 400
CANCEL_S = 10
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class Worker(NamedTuple):
    """A worker's process and what it printed."""

    pid: int
    log: Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Environment of clients of a real Prefect server with its own database."""
    home = tmp_path_factory.mktemp("prefect")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    for name in ("PREFECT_API_DATABASE_CONNECTION_URL", "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"):
        environment.pop(name, None)
    with running(["prefect", "server", "start", "--port", str(port)], environment, home / "server"):
        deadline = time.monotonic() + STARTUP_S
        while not healthy(environment["PREFECT_API_URL"]):
            if time.monotonic() > deadline:
                pytest.fail((home / "server").read_text())
            time.sleep(0.5)
        yield environment


def healthy(api: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"{api}/health", timeout=2) as answer:
        return bool(answer.status == 200)
    return False


@contextlib.contextmanager
def running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[int]:
    with log.open("w") as out:
        process = subprocess.Popen(
            [str(BIN / command[0]), *command[1:]],
            cwd=ROOT,
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def prefect(environment: dict[str, str], *arguments: str, timeout: float = 120) -> str:
    done = subprocess.run(
        [str(BIN / "prefect"), *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def worker(server: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A process worker for the deployments of ``deployments/prefect.yaml``."""
    log = tmp_path_factory.mktemp("worker") / "log"
    prefect(server, "work-pool", "create", "--type", "process", "prunebench")
    prefect(server, "deploy", "--all", "--prefect-file", "deployments/prefect.yaml")
    command = ["prefect", "worker", "start", "--pool", "prunebench"]
    with running(command, server, log) as pid:
        yield Worker(pid, log)


@pytest.fixture
def out(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return share_steps(tmp_path / "runs", tmp_path_factory)


@pytest.mark.timeout(2 * RUN_S + 3 * STARTUP_S)
def test_both_deployments_run_in_a_process_worker(
    server: dict[str, str], worker: Worker, out: Path
) -> None:
    nightly = call(server, "deployments/name/rebenchmark/rebenchmark")["schedules"]
    assert [s["schedule"]["cron"] for s in nightly] == ["30 2 * * *"]

    config = tiny_values(out, retrain={"rounds": 0})
    finish(server, worker, "compare/compare", {"config": config})
    (first,) = [path.parent for path in out.glob("*/ranking.json")]
    names = {row.name for row in read_outcome(first).rankings[0].rows}
    assert names == {"baseline", "pruned"}
    finish(server, worker, "rebenchmark/rebenchmark", {"out": str(out)})
    comparison = json.loads(next(out.glob("*-rebenchmark/comparison.json")).read_text())
    assert comparison["before"] == first.name
    assert len(comparison["changes"]) == len(names)


@pytest.mark.timeout(RUN_S + 2 * STARTUP_S)
def test_cancelling_ends_the_training_at_once(
    server: dict[str, str], worker: Worker, out: Path
) -> None:
    config = tiny_values(out, retrain={"epochs": 1000})
    flow_run = start(server, "compare/compare", {"config": config})
    deadline = time.monotonic() + RUN_S
    while not any("train" in child.cmdline() for child in descendants(worker.pid)):
        assert time.monotonic() < deadline, worker.log.read_text()
        time.sleep(0.2)
    alive = descendants(worker.pid)
    cancelling = {"type": "CANCELLING", "name": "Cancelling"}
    call(server, f"{flow_run}/set_state", {"state": cancelling})
    _, left = psutil.wait_procs(alive, timeout=CANCEL_S)
    assert [process.cmdline() for process in left + descendants(worker.pid)] == []
    wait_for(server, worker, flow_run, "CANCELLED")


def descendants(pid: int) -> list[psutil.Process]:
    """What a worker started and is alive, however deep; each must have a command line."""
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if child.cmdline():
                found.append(child)
    return found


def start(environment: dict[str, str], deployment: str, parameters: dict[str, Any]) -> str:
    """Start a flow run of a deployment; gives its path in the API."""
    found = call(environment, f"deployments/name/{deployment}")
    body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
    made = call(environment, f"deployments/{found['id']}/create_flow_run", body)
    return f"flow_runs/{made['id']}"


def call(environment: dict[str, str], path: str, body: dict[str, Any] | None = None) -> Any:
    """Ask the server's API, as the UI does."""
    request = urllib.request.Request(
        f"{environment['PREFECT_API_URL']}/{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def finish(
    environment: dict[str, str], worker: Worker, deployment: str, parameters: dict[str, Any]
) -> None:
    """Run a deployment and wait until its flow run has completed."""
    wait_for(environment, worker, start(environment, deployment, parameters), "COMPLETED")


def wait_for(environment: dict[str, str], worker: Worker, flow_run: str, wanted: str) -> None:
    """Wait until a flow run has ended, which must be in the state ``wanted``."""
    deadline = time.monotonic() + RUN_S
    while (state := call(environment, flow_run)["state"])["type"] not in ENDED:
        assert time.monotonic() < deadline, worker.log.read_text()
        time.sleep(0.2)
    assert state["type"] == wanted, f"{state}\n{worker.log.read_text()}"
