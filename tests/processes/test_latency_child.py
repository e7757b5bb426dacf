"""The measuring child as a real process."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from latency_kit import IMGSZ, NC, write_detector, write_segmenter

from prunebench.common.errors import ChildFailed
from prunebench.common.records import sha256_of
from prunebench.config.sections import LatencyConfig
from prunebench.measuring.latency.sentinel import write_sentinel
from prunebench.measuring.latency.together import INTERRUPTS, Lane, Raw, measure_together
from prunebench.measuring.session import SessionSettings

DEFAULTS: dict[str, Any] = {
    "threads": 1,
    "session": asdict(SessionSettings.of(LatencyConfig())),
    "warmup": 1,
    "seconds": 0.05,
    "paced_seconds": 0.1,
    "realtime_fps": 50.0,
    "imgsz": IMGSZ,
    "nc": NC,
    "confidence": 0.25,
    "iou": 0.7,
    "max_det": 300,
    "input": None,
    "frames": [],
    "runtime": None,
}


def run_alone(request: dict[str, Any], folder: Path, *, variant: str) -> Raw:
    (measured,) = measure_together(
        [Lane(variant, request)], request["seconds"], folder, random.Random(0)
    )
    if isinstance(measured, ChildFailed):
        raise measured
    return measured


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("child")
    target = write_detector(folder / "detector.onnx", depth=2)
    np.save(folder / "frame.npy", np.random.default_rng(0).integers(0, 256, (54, 96, 3), np.uint8))
    return {**DEFAULTS, "onnx": str(target.onnx), "frames": [str(folder / "frame.npy")]}


def test_raw_durations_add_up_to_the_time_asked_for(
    detector: dict[str, Any], tmp_path: Path
) -> None:
    raw, started_s, process_s = run_alone(detector, tmp_path, variant="a")
    assert sum(raw["model_ms"]) / 1e3 == pytest.approx(raw["model_wall_s"], rel=0.05)
    assert raw["model_wall_s"] == pytest.approx(0.05, rel=0.5)
    assert raw["model_slices"] == [len(raw["model_ms"])]
    assert raw["frame_slices"] == [len(raw["nms_ms"])]
    assert 0 <= time.time() - started_s < 60
    assert 0 < raw["model_cpu_s"] <= raw["model_wall_s"] * 1.1
    stages = [raw["letterbox_ms"], raw["inference_ms"], raw["nms_ms"]]
    assert len({len(stage) for stage in stages}) == 1
    assert sum(sum(stage) for stage in stages) / 1e3 == pytest.approx(0.05, rel=0.5)
    # 0.1 s at 50 frames per second.
    assert len(raw["response_ms"]) == 5
    assert raw["load_ms"] > 0 < raw["first_ms"]
    assert 0 < raw["rss_base_mb"] < raw["rss_peak_mb"] < 1000
    assert process_s > 0.2


def test_the_masks_of_a_segmentation_network_are_part_of_a_frame(
    detector: dict[str, Any], tmp_path: Path
) -> None:
    """Prototypes far larger than the frame, so that masks take many times as long as NMS."""
    durations = {}
    for side in (8, 512):
        path = tmp_path / f"{side}.onnx"
        write_segmenter(path, prototypes=(side, side))
        raw = run_alone({**detector, "onnx": str(path)}, tmp_path, variant=f"{side}")
        durations[side] = float(np.median(raw.figures["nms_ms"]))
    assert durations[512] > 5 * durations[8]


@pytest.mark.parametrize(
    ("asked", "in_force"),
    [
        ({}, {"intra_op.allow_spinning": "0", "graph_optimization_level": "ORT_ENABLE_ALL"}),
        (
            {"spinning": True, "graph_level": "basic", "arena": False},
            {
                "intra_op.allow_spinning": "1",
                "graph_optimization_level": "ORT_ENABLE_BASIC",
                "enable_cpu_mem_arena": "False",
            },
        ),
        (
            {"execution_mode": "parallel", "flush_denormals": True},
            {"execution_mode": "ORT_PARALLEL", "set_denormal_as_zero": "1"},
        ),
    ],
)
def test_session_options_are_those_asked_for(
    detector: dict[str, Any], tmp_path: Path, asked: dict[str, Any], in_force: dict[str, str]
) -> None:
    session = {**detector["session"], **asked}
    request = {**detector, "threads": 2, "session": session, "frames": []}
    found = run_alone(request, tmp_path, variant="a").figures["session"]
    assert found["providers"] == "CPUExecutionProvider"
    assert found["intra_op_num_threads"] == "2"
    assert in_force.items() <= found.items()


def test_a_model_too_slow_for_the_pace_misses_and_is_given_up(
    detector: dict[str, Any], tmp_path: Path
) -> None:
    request = {**detector, "realtime_fps": 200_000.0, "paced_seconds": 0.05}
    raw = run_alone(request, tmp_path, variant="a").figures
    assert len(raw["response_ms"]) == 10_000
    # Frames queue up, so each waits longer than the one before; no frame can be in time.
    assert min(raw["response_ms"][1:]) > 1000 / 200_000
    assert raw["response_ms"][-1] > 25


def test_it_imports_no_more_than_it_needs(detector: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text(json.dumps({**detector, "slices": 1}))
    command = [sys.executable, "-P", "-X", "importtime", "-m", "prunebench.measuring.latency.child"]
    files = [str(tmp_path / "request.json"), str(tmp_path / "result.json")]
    process = subprocess.Popen(
        [*command, *files],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write("model\nopen\nframes\npaced\nend\n")
        process.stdin.flush()
        imported = {line.rsplit("|", 1)[-1].strip() for line in process.stderr}
    assert {"numpy", "onnxruntime.capi", "cv2"} <= imported
    heavy = {"pydantic", "torch", "ultralytics", "onnx", "scipy", "pandas", "prefect", "psutil"}
    assert not imported & heavy


def test_a_file_that_is_no_model_fails_with_onnxruntimes_reason(
    detector: dict[str, Any], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    with pytest.raises(ChildFailed, match=r"^broken: latency failed: .*INVALID_PROTOBUF") as caught:
        run_alone({**detector, "onnx": str(broken)}, tmp_path, variant="broken")
    assert caught.value.returncode == 1
    assert -caught.value.returncode not in INTERRUPTS


PARENT = """
import json, random, sys
from pathlib import Path
from prunebench.measuring.latency.together import Lane, measure_together
request = json.loads(sys.argv[1])
measure_together([Lane("a", request)], 0.1, Path(sys.argv[2]), random.Random(0))
"""


def test_the_child_ends_when_its_parent_is_killed(detector: dict[str, Any], tmp_path: Path) -> None:
    request = json.dumps({**detector, "seconds": 60})
    parent = subprocess.Popen([sys.executable, "-c", PARENT, request, str(tmp_path)])
    watched = psutil.Process(parent.pid)
    until = time.monotonic() + 30
    while not (children := watched.children()) and time.monotonic() < until:
        time.sleep(0.02)
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert children
    assert alive == []
    assert list(tmp_path.rglob("result.json")) == []


def test_the_sentinel_is_the_same_file_everywhere(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_sentinel(tmp_path / name)
    assert sha256_of(tmp_path / "one") == sha256_of(tmp_path / "two")
    request = {**DEFAULTS, "onnx": str(tmp_path / "one")}
    raw = run_alone(request, tmp_path, variant="sentinel").figures
    assert 0.2 < np.median(raw["model_ms"]) < 100


def test_peak_memory_is_the_childs_own_whatever_its_parent_holds(
    detector: dict[str, Any], tmp_path: Path
) -> None:
    ballast = b"\1" * 1_500_000_000
    raw = run_alone(detector, tmp_path, variant="a").figures
    assert raw["rss_peak_mb"] < 1000 < len(ballast) / 1e6
