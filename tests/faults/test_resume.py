"""kill -9 in a training, again in the measurement: the same command goes on and repeats nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from prunebench.measuring.latency.raw import SENTINEL
from tests.conftest import share_steps, tiny_values

SCRIPT = Path(sys.executable).with_name("prunebench")
ENDED_S = 20


@pytest.fixture
def config(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    values = tiny_values(share_steps(tmp_path / "out", tmp_path_factory))
    values["retrain"] = {
        **values["retrain"],
        "epochs": 4,
        "strategies": {"preserving": {"lr0": 0.001}},
    }
    values["latency"] = {**values["latency"], "rounds_min": 5, "rounds_max": 5, "seconds": 0.2}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def start(config: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(SCRIPT), "run", "--config", str(config), "--json"],
        env={**os.environ, "PREFECT_HOME": str(config.parents[1] / "prefect")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def lines_of(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stderr is not None
    yield from process.stderr


def kill_when(process: subprocess.Popen[str], due: Callable[[str], bool]) -> list[str]:
    """Kill the run with SIGKILL once a progress line says so; gives the lines until then."""
    seen = []
    for line in lines_of(process):
        seen.append(line)
        if due(line):
            break
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    # Returns only once no process holds the run's output open.
    process.communicate(timeout=ENDED_S)
    _, alive = psutil.wait_procs(children, timeout=ENDED_S)
    assert alive == [], "a killed run left a process behind"
    return seen


def samples(out: Path) -> list[dict[str, object]]:
    found = [path.read_text() for path in out.glob("*/latency/*.jsonl")]
    lines = [json.loads(line) for text in found for line in text.splitlines() if line.endswith("}")]
    return [line for line in lines if "model_ms" in line]


def files_of(folder: Path) -> set[str]:
    """Every path below a run's folder, hidden ones too."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def serves_prefect(process: psutil.Process) -> bool:
    """Whether it is Prefect's server; a process may end while it is asked."""
    try:
        return "uvicorn" in process.cmdline()
    except psutil.Error:
        return False


def test_a_run_killed_while_prefect_starts_leaves_no_process(config: Path) -> None:
    process = start(config)
    deadline = time.monotonic() + 120
    while not any(map(serves_prefect, psutil.Process(process.pid).children())):
        assert time.monotonic() < deadline, "Prefect's server never started"
        time.sleep(0.02)
    kill_when(process, lambda line: "starting Prefect" in line)


@pytest.mark.timeout(600)
def test_a_killed_run_continues(config: Path) -> None:
    out = config.parent / "out"
    kill_when(start(config), lambda line: "preserving-1: epoch 2/4, loss" in line)
    assert list(out.glob("*/ranking.json")) == []

    second = start(config)
    deadline = time.monotonic() + 300

    def measured_a_round(line: str) -> bool:
        assert time.monotonic() < deadline, "the measurement never began"
        return len(samples(out)) >= 5

    seen = kill_when(second, measured_a_round)
    epochs = [line for line in seen if "preserving-1: epoch" in line and "loss" in line]
    assert any("epoch 4/4" in line for line in epochs)
    assert not any("epoch 1/4" in line for line in epochs), "a finished epoch was repeated"
    before = samples(out)

    third = start(config)
    stdout, stderr = third.communicate(timeout=300)
    assert third.returncode == 0, stderr
    assert "epoch" not in stderr, "a finished training was repeated"
    assert "| INFO" not in stderr, "Prefect's log repeats the progress"
    folder = Path(json.loads(stdout)["folder"])
    assert [path.parent for path in out.glob("*/ranking.json")] == [folder]
    after = samples(out)
    assert after[: len(before)] == before, "a finished measurement was repeated"
    assert {s["variant"] for s in after} == {"baseline", "pruned", "preserving-1", SENTINEL}
    training = json.loads((folder / "variants/preserving-1/record.json").read_text())["training"]
    assert training["resumed"] == 1
    assert training["epochs"] == 4

    undisturbed = start(config)
    stdout, stderr = undisturbed.communicate(timeout=300)
    assert undisturbed.returncode == 0, stderr
    assert files_of(folder) == files_of(Path(json.loads(stdout)["folder"]))
