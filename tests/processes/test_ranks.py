"""A training on several GPUs, as far as a CPU can show it: everything reaches another process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import psutil
import pytest
from filelock import FileLock
from ranks_kit import InAnotherProcess, OfAnotherStructure, TwoGpus
from retraining_kit import make_dataset, make_network, request

from prunebench.common.errors import StepError, StructureChanged
from prunebench.steps.events import EVENT, EVENT_MARK, to_parent
from prunebench.variants.checkpoint import load_checkpoint
from prunebench.variants.retraining.ranks import LOCK, starting_ranks
from prunebench.variants.retraining.saved import tensor_shapes
from prunebench.variants.retraining.step import run


@pytest.fixture
def training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A request for two GPUs, whose trainer is set by ``with_trainer``."""
    monkeypatch.setattr("prunebench.variants.retraining.fit.using", lambda *_: nullcontext())
    data_yaml = make_dataset(tmp_path / "data")
    pruned = make_network(tmp_path / "pruned.pt", pruned=True)
    device = TwoGpus(kind="cuda", cards=(0, 1), name="GPU")
    return request(pruned, data_yaml, "preserving", device=device, precision="float32")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Folder of a step whose path Ultralytics would change."""
    return tmp_path / "it's 1? [of] yolov5n"


def with_trainer(trainer: type[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "prunebench.variants.retraining.trainers.preserving_trainer", lambda _: trainer
    )


def test_what_trains_reaches_another_process_and_its_state_comes_back(
    training: Any,
    tmp_path: Path,
    work: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with_trainer(InAnotherProcess, monkeypatch)
    result = run(training, work, to_parent)
    said = [line for line in capfd.readouterr().out.split("\n") if line.startswith(EVENT_MARK)]
    events = [EVENT.validate_json(line[len(EVENT_MARK) :]) for line in said]
    assert [event.epoch for event in events if event.kind == "epoch"] == [1, 2]
    trained = result.training
    assert (trained.epochs, trained.transferred) == (2, trained.tensors)
    assert trained.trained_on is not None
    assert (trained.trained_on.device, trained.trained_on.devices) == ("cuda", 2)
    kept = tensor_shapes(load_checkpoint(work / "model.pt"))
    assert kept == tensor_shapes(load_checkpoint(tmp_path / "pruned.pt"))
    assert sorted(p.name for p in (work).iterdir()) == [
        "curves.csv",
        "model.pt",
        "state.json",
    ]


def test_it_goes_on_after_a_kill(
    training: Any, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_trainer(InAnotherProcess, monkeypatch)
    monkeypatch.setenv("PRUNEBENCH_TEST_KILL_AFTER", "1")
    with pytest.raises(StepError, match="one of its processes ended with -9"):
        run(training, work, to_parent)
    assert json.loads((work / "state.json").read_text())["epochs"] == 1
    monkeypatch.delenv("PRUNEBENCH_TEST_KILL_AFTER")
    result = run(training, work, to_parent)
    assert (result.training.epochs, result.training.resumed) == (2, 1)


def test_what_ends_one_of_them_is_told_as_it_was(
    training: Any, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_trainer(OfAnotherStructure, monkeypatch)
    with pytest.raises(StructureChanged, match="the checkpoint of epoch 1 has"):
        run(training, work, to_parent)


RANK = """
import sys, time
from pathlib import Path
from prunebench.variants.retraining.ranks import end_with_starter
end_with_starter(Path(sys.argv[1]))
print("watching", flush=True)
time.sleep(60)
"""

STARTER = """
import os, subprocess, sys
from pathlib import Path
from prunebench.variants.retraining.ranks import starting_ranks
with starting_ranks(Path(sys.argv[1])):
    environment = {**os.environ, "RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}
    subprocess.run([sys.executable, "-c", sys.argv[2], sys.argv[1]], check=True, env=environment)
"""


def test_they_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STARTER, str(tmp_path), RANK]
    starter = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    assert starter.stdout.readline() == "watching\n"
    (rank,) = psutil.Process(starter.pid).children()
    time.sleep(0.5)
    assert rank.is_running(), "not before"
    starter.kill()
    starter.wait()
    psutil.wait_procs([rank], timeout=20)
    assert not rank.is_running()


def test_its_lock_is_free_afterwards(tmp_path: Path) -> None:
    with starting_ranks(tmp_path):
        assert (tmp_path / LOCK).exists()
    with FileLock(tmp_path / LOCK, timeout=0):
        pass
