"""Steps that meet a fault: a full disk, a second worker, a clock that is set back."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from disk_kit import fill, small_disk
from faketime_kit import faketime
from latency_kit import write_detector, write_images
from retraining_kit import make_dataset, make_network, request

from prunebench.common.errors import StepError
from prunebench.measuring.latency.records import LatencyResult
from prunebench.steps.cache import run_step
from prunebench.steps.child import run_child
from prunebench.steps.events import Event
from prunebench.variants.retraining.step import Request, Result

WAIT_S = 120

WORKER = """
import sys
from pathlib import Path
from prunebench.variants.retraining.step import Request
from prunebench.steps.cache import run_step
request = Request.model_validate_json(Path(sys.argv[1]).read_text())
print("asked", flush=True)
run = run_step(
    Path(sys.argv[2]), "train", request, {}, threads=1,
    on_event=lambda event: event.kind == "epoch" and print(event.epoch, flush=True),
)
print("done" if run.cached is False else "cached", flush=True)
"""


@pytest.fixture
def training(tmp_path: Path) -> Request:
    data_yaml = make_dataset(tmp_path / "data")
    return request(make_network(tmp_path / "tiny.pt"), data_yaml, "preserving", epochs=3)


def test_a_training_on_a_full_disk_says_so_and_goes_on_once_there_is_space(
    tmp_path: Path, training: Request
) -> None:
    events: list[Event] = []

    def fill_after_first_epoch(event: Event) -> None:
        events.append(event)
        if event.kind == "epoch":
            fill(disk)

    with small_disk(tmp_path / "disk", 32) as disk:
        with pytest.raises(StepError, match=r"the disk of .* is full .* free some space and run"):
            run_child("train", training, disk / "w", threads=1, on_event=fill_after_first_epoch)
        saved = [event.epoch for event in events if event.kind == "epoch"]
        assert saved[0] == 1
        assert 3 not in saved
        (disk / "filler").unlink()
        events.clear()
        answer = run_child("train", training, disk / "w", threads=1, on_event=events.append)
        result = Result.model_validate(answer)
        assert result.checkpoint.holds(disk / "w")
        continued = [event.epoch for event in events if event.kind == "epoch"]
        assert continued[0] > 1, "a finished epoch was repeated"
        assert continued[-1] == result.training.epochs == 3


def test_two_workers_asked_for_one_variant_train_it_once_and_the_second_takes_over(
    tmp_path: Path, training: Request
) -> None:
    path = tmp_path / "request.json"
    path.write_text(training.model_dump_json())
    command = [sys.executable, "-c", WORKER, str(path), str(tmp_path / "steps")]

    def worker() -> subprocess.Popen[str]:
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    with worker() as first:
        assert first.stdout is not None
        while first.stdout.readline() != "1\n":
            assert first.poll() is None
        # Or a quick training is finished before the second has asked.
        training_of_first = psutil.Process(first.pid).children(recursive=True)
        for process in training_of_first:
            process.suspend()
        with worker() as second:
            assert second.stdout is not None
            assert second.stdout.readline() == "asked\n"
            first.kill()
            for process in training_of_first:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.resume()
            said = second.stdout.read().split()
            assert second.wait(WAIT_S) == 0
    assert said[-1] == "done"
    assert "1" not in said, "a finished epoch was repeated"
    assert "3" in said
    assert run_step(tmp_path / "steps", "train", training, {}, threads=1).cached


MEASURE = """
import json, sys
from pathlib import Path
from prunebench.measuring.latency.measure import Target, measure
from prunebench.config.sections import LatencyConfig
targets, images, config, folder, clock = map(json.loads, sys.argv[1:])

def set_back(event):
    if event.kind == "timed" and event.round == 2:
        Path(clock).write_text("-1h")

result = measure(
    [Target(name, Path(path), sha256) for name, path, sha256 in targets],
    [Path(image) for image in images], LatencyConfig.model_validate(config),
    realtime_fps=20.0, imgsz=(64, 96), nc=3, seed=0, folder=Path(folder), on_event=set_back,
)
print(result.model_dump_json())
"""


def test_a_clock_set_back_by_an_hour_changes_no_measurement(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    targets = [write_detector(tmp_path / f"depth-{depth}.onnx", depth) for depth in (2, 6)]
    images = [str(path) for path in write_images(tmp_path, 2)]
    config = {
        "threads": [1],
        "rounds_min": 4,
        "rounds_max": 4,
        "seconds": 0.1,
        "warmup": 1,
        "paced": False,
    }
    given = [[(t.name, str(t.onnx), t.sha256) for t in targets], images, config]
    arguments = [json.dumps(value) for value in (*given, str(tmp_path / "out"), str(clock))]
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *arguments],
        env={**os.environ, **faketime(clock)},
        capture_output=True,
        text=True,
        check=False,
    )
    took = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    result = LatencyResult.model_validate_json(done.stdout.splitlines()[-1])
    samples = [json.loads(line) for line in (tmp_path / "out" / result.samples.path).open()]
    starts = [sample["started_s"] for sample in samples]
    assert min(np.diff(starts)) < -3000, "the clock was not set back"
    assert result.rounds == 4
    assert 0 < result.wall_s < took
    assert all(0 < sample["process_s"] <= sample["elapsed_s"] < took for sample in samples)
    assert all(min(sample["model_ms"]) > 0 for sample in samples)
