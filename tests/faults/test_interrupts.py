"""A run ends within seconds of either signal, to it or to its group, in each of its phases."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import yaml
from signals_kit import at_work

from prunebench.measuring.host.lock import host_lock
from tests.conftest import share_steps, tiny_values

SCRIPT = Path(sys.executable).with_name("prunebench")
ENDED_S = 3.0
"""On a host with no more at work than it has cores for; longer by as much as it has more."""

PHASES = {
    "checking": "checking the model",
    "starting": "starting Prefect",
    "training": "preserving-1: epoch",
    "waiting": "waiting for first",
    "measuring": "latency: round",
}
"""What a run says as a phase begins."""


@pytest.fixture
def config(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    values = tiny_values(share_steps(tmp_path / "out", tmp_path_factory))
    values["retrain"] = {
        **values["retrain"],
        "strategies": {"preserving": {"lr0": 0.001}},
    }
    values["latency"] = {**values["latency"], "rounds_min": 500, "rounds_max": 500}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where every run keeps temporary files: the host's lock, and what is found of the host."""
    return tmp_path_factory.mktemp("tmp")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize(
    ("number", "group"),
    [(signal.SIGINT, False), (signal.SIGTERM, True)],
    ids=["Ctrl-C of the process", "SIGTERM of the group"],
)
def test_a_run_ends(
    phase: str, number: signal.Signals, group: bool, config: Path, folder: Path
) -> None:
    command = [str(SCRIPT), "run", "--config", str(config)]
    if phase == "training":
        command += ["retrain.epochs=400"]
    elif phase in ("waiting", "measuring"):
        # What is trained already is taken over; what is not yet, is nothing that measures.
        command += ["retrain.rounds=0"]
    environment = {
        **os.environ,
        "PREFECT_HOME": str(folder.parent / "prefect"),
        "TMPDIR": str(folder),
    }
    release = threading.Event()
    holder = threading.Thread(target=_hold, args=(folder, release))
    if phase == "waiting":
        holder.start()
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stderr is not None
        seen = []
        for line in process.stderr:
            seen.append(line)
            if PHASES[phase] in line:
                break
        assert process.poll() is None, "".join(seen)
        below = psutil.Process(process.pid).children(recursive=True)
        began = time.monotonic()
        (os.killpg if group else os.kill)(process.pid, number)
        _, told = process.communicate(timeout=60)
        took = time.monotonic() - began
        _, left = psutil.wait_procs(below, timeout=1)
    finally:
        release.set()
        process.kill()
    assert took < ENDED_S * max(1.0, os.getloadavg()[0] / len(os.sched_getaffinity(0))), told
    assert [one for one in left if at_work(one)] == []
    assert process.returncode == 130
    assert "Traceback" not in told
    assert told.count("prunebench: interrupted; the same command goes on where it stopped") == 1


def _hold(folder: Path, release: threading.Event) -> None:
    with host_lock("first", print, folder=folder):
        release.wait()
