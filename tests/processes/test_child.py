"""Child processes of steps, with real steps."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from prunebench.common.cores import physical_cores
from prunebench.common.errors import CheckpointError, ChildFailed, StepError
from prunebench.config.strategy_settings import PreservingSettings
from prunebench.data.scenes import generate_scenes
from prunebench.steps.child import (
    ONE_CORE_EACH,
    binding,
    ending_children,
    run_child,
)
from prunebench.steps.environment import thread_environment
from prunebench.steps.events import Event
from prunebench.variants.retraining.step import Request as TrainRequest
from prunebench.variants.structure import Request
from tests.conftest import ASSET

PARENT = """
import sys
from pathlib import Path
from prunebench.steps.child import run_child
from prunebench.variants.retraining.step import Request
request = Request.model_validate_json(sys.argv[1])
run_child("train", request, Path(sys.argv[2]), threads=1)
"""


def long_training(folder: Path) -> TrainRequest:
    """A training that would take an hour."""
    return TrainRequest(
        strategy="preserving",
        settings=PreservingSettings(),
        checkpoint=str(ASSET),
        data_yaml=str(generate_scenes(folder / "scenes", train=4, val=2, test=2)),
        round=1,
        epochs=3000,
        imgsz=32,
        batch=2,
        image_hw=(32, 32),
    )


def test_bad_input_found_in_a_child_is_the_same_error_in_the_parent(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_text("no checkpoint")
    events: list[Event] = []
    with pytest.raises(CheckpointError) as caught:
        run_child(
            "inspect",
            Request(checkpoint=str(path), imgsz=(64, 64)),
            tmp_path / "work",
            threads=1,
            on_event=events.append,
        )
    assert caught.value.where == str(path)
    assert caught.value.fix
    assert events[0].kind == "stage"


def test_a_child_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    with pytest.raises(ChildFailed, match="longer than 3 s") as caught:
        run_child("train", long_training(tmp_path), tmp_path / "work", threads=1, timeout_s=3)
    assert caught.value.returncode == -signal.SIGKILL


def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    request = long_training(tmp_path).model_dump_json()
    parent = subprocess.Popen([sys.executable, "-c", PARENT, request, str(tmp_path / "work")])
    children: list[psutil.Process] = []
    deadline = time.monotonic() + 30
    while not children and time.monotonic() < deadline:
        time.sleep(0.1)
        children = psutil.Process(parent.pid).children()
    assert children
    assert os.getpgid(children[0].pid) == os.getpgid(parent.pid)
    # Let the child reach its own code, past the interpreter's start.
    time.sleep(2)
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []


def test_a_signal_ends_the_children_that_threads_wait_for(tmp_path: Path) -> None:
    request = long_training(tmp_path)
    started = threading.Event()

    def train(folder: str) -> None:
        run_child("train", request, tmp_path / folder, threads=1, on_event=lambda _: started.set())

    def cancelled(pool: ThreadPoolExecutor) -> Future[None]:
        running = pool.submit(train, "first")
        with contextlib.suppress(KeyboardInterrupt), ending_children():
            assert started.wait(60)
            raise KeyboardInterrupt
        return running

    with ThreadPoolExecutor() as pool:
        running = cancelled(pool)
        with pytest.raises(StepError, match="ended by a signal"):
            running.result(timeout=10)
        with pytest.raises(StepError, match="ended by a signal"):
            train("second")
    with ending_children(), pytest.raises(ChildFailed, match="longer than"):
        run_child("train", request, tmp_path / "third", threads=1, timeout_s=0.5)


def test_the_libraries_of_a_child_are_held_to_its_threads() -> None:
    environment = thread_environment(3)
    assert environment["OMP_NUM_THREADS"] == environment["MKL_NUM_THREADS"] == "3"


@pytest.mark.parametrize("step", ["train", "baseline"])
def test_a_training_on_every_core_has_a_core_for_each_thread(step: str, tmp_path: Path) -> None:
    every, asked = physical_cores(), long_training(tmp_path)
    assert binding(step, asked, every) == ONE_CORE_EACH
    for other in (every + 1, every - 1):
        assert binding(step, asked, other) == {}, "two trainings may share the cores"
    loading = asked.model_copy(update={"workers": 1})
    for one, request in (("accuracy", asked), (step, loading)):
        assert binding(one, request, every) == {}, "processes it starts would inherit one core"
