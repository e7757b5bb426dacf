"""The step in its own process: the same bytes every time, and a file that can be measured."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from quantize_kit import IMGSZ, NAMES, label, request, write_detector, write_images

from prunebench.common.records import sha256_of
from prunebench.config.sections import LatencyConfig
from prunebench.measuring.latency.measure import Target, measure
from prunebench.measuring.latency.samples import read_samples
from prunebench.steps.child import run_child
from prunebench.variants.int8.step import Quantized


@pytest.fixture(autouse=True)
def _own_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real measurement on this host must not make the tests wait."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_equal_bytes_that_the_measuring_child_runs(tmp_path: Path) -> None:
    images = write_images(tmp_path / "data")
    detector = write_detector(tmp_path / "float.onnx", hostile=3)
    label(detector, images)
    records, events = [], []
    for seed in ("1", "2"):
        plain = run_child(
            "quantize",
            request(detector, images),
            tmp_path / seed,
            threads=1,
            on_event=events.append,
            env={"PYTHONHASHSEED": seed},
        )
        records.append(Quantized.model_validate(plain))
    assert records[0] == records[1]
    assert len(records[0].left_float) == 3
    stages = [event.what for event in events if event.kind == "stage"]
    assert stages[:4] == [
        "evaluating in float on 12 images",
        "calibrating on 12 images",
        "evaluating with 0 of 9 layers left in float",
        "quantizing each of 9 layers alone",
    ]

    files = {"float": detector, "int8": tmp_path / "1" / records[0].onnx.path}
    settings = LatencyConfig(
        threads=(1,), rounds_min=3, rounds_max=3, seconds=0.1, paced_seconds=0.1, warmup=1
    )
    result = measure(
        [Target(name, file, sha256_of(file)) for name, file in files.items()],
        images,
        settings,
        realtime_fps=50.0,
        imgsz=IMGSZ,
        nc=len(NAMES),
        seed=0,
        folder=tmp_path / "latency",
    )
    assert result.failures == {}
    samples = read_samples(tmp_path / "latency" / result.samples.path)
    assert {sample.variant for sample in samples} >= set(files)
    assert all(sample.nms_ms for sample in samples if sample.variant in files)
