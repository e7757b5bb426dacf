"""Mean average precision of an exported file agrees with Ultralytics' own validator.

The network is random, so its labels are made from its own detections: scaled a little, some of
them left out. That gives an average precision between 0 and 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from accuracy_kit import EMPTY, export_spread_out, of_ultralytics, request, write_labelled
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pruning_kit import NAMES, tiny_network
from ultralytics.engine.validator import BaseValidator
from ultralytics.utils.metrics import box_iou
from ultralytics.utils.ops import xywh2xyxy

from prunebench.common.errors import CheckpointError, DatasetError
from prunebench.common.records import Accuracy
from prunebench.measuring.accuracy import match, run
from prunebench.measuring.heads import detect
from prunebench.measuring.map_bootstrap import load_detections, mean_ap
from prunebench.steps.events import Evaluating, Event, Progress

IMAGES = 10


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_spread_out(tiny_network("yolov8n"), tmp_path_factory.mktemp("onnx"))


@pytest.fixture(scope="module")
def data_yaml(onnx_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_labelled(tmp_path_factory.mktemp("data"), onnx_file, IMAGES, 6, _labels)


def _labels(
    best: np.ndarray, factor: np.ndarray, offset: np.ndarray, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    boxes = np.column_stack(((best[:, :2] + best[:, 2:]) / 2, best[:, 2:] - best[:, :2]))
    for row in (boxes - offset) / factor:
        if row.min() >= 0 and row.max() <= 1 and rng.random() < 0.7:
            yield row


@pytest.fixture(scope="module")
def evaluated(
    onnx_file: Path, data_yaml: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Accuracy, list[Event]]:
    workdir = tmp_path_factory.mktemp("accuracy")
    events: list[Event] = []
    return workdir, run(request(onnx_file, data_yaml), workdir, events.append), events


def test_figures_are_those_of_ultralytics_validator(
    onnx_file: Path,
    data_yaml: Path,
    evaluated: tuple[Path, Accuracy, list[Event]],
    tmp_path: Path,
) -> None:
    metrics = of_ultralytics(onnx_file, "detect", data_yaml, tmp_path)
    accuracy = evaluated[1]
    assert 0.05 < accuracy.map50 < 0.95
    assert accuracy.map50 == pytest.approx(metrics.box.map50, abs=1e-4)
    assert accuracy.map50_95 == pytest.approx(metrics.box.map, abs=1e-4)
    per_class = {
        int(index): float(value)
        for index, value in zip(metrics.box.ap_class_index, metrics.box.ap50, strict=True)
    }
    assert accuracy.per_class == pytest.approx(per_class, abs=1e-4)
    assert accuracy.instances == int(metrics.nt_per_class.sum())


def test_raw_matches_give_the_same_figure_again(
    evaluated: tuple[Path, Accuracy, list[Event]],
) -> None:
    workdir, accuracy, _ = evaluated
    assert accuracy.detections.holds(workdir)
    detections = load_detections(workdir / accuracy.detections.path)
    assert detections.target_counts.shape == (IMAGES, len(NAMES))
    assert detections.target_counts.sum() == accuracy.instances
    assert not detections.target_counts[-EMPTY:].any()
    assert detections.tp.shape == (len(detections.confidence), 10)
    again = mean_ap(detections, np.ones((1, IMAGES)))
    # Ultralytics leaves the order of equal scores to an unstable sort; a random network has some.
    assert again[0] == pytest.approx(accuracy.map50, abs=0.005)
    with np.load(workdir / accuracy.detections.path) as arrays:
        assert [Path(path).name for path in arrays["paths"]] == [f"{i}.png" for i in range(IMAGES)]


def test_progress_reaches_every_image(
    evaluated: tuple[Path, Accuracy, list[Event]],
) -> None:
    events = evaluated[2]
    assert events[0] == Evaluating(images=IMAGES)
    assert events[-1] == Progress(done=IMAGES, total=IMAGES, unit="image")


def matched(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Detections matched to labels by their boxes."""
    return match(detect.box_iou(wanted, found[:, :4]), wanted[:, 0], found[:, 5])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10_000), detections=st.integers(0, 12), labels=st.integers(0, 6))
def test_matching_is_ultralytics_own(seed: int, detections: int, labels: int) -> None:
    rng = np.random.default_rng(seed)
    wanted = np.column_stack((rng.integers(0, 2, labels), rng.uniform(4, 20, (labels, 4))))
    near = wanted[rng.integers(0, labels, detections)] if labels else np.zeros((detections, 5))
    moved = near[:, 1:] + rng.uniform(-2, 2, (detections, 4))
    boxes = np.column_stack((moved[:, :2] - moved[:, 2:] / 2, moved[:, :2] + moved[:, 2:] / 2))
    scores = -np.sort(-rng.random(detections))
    found = np.column_stack((boxes, scores, rng.integers(0, 2, detections))).astype(np.float32)

    validator: Any = SimpleNamespace(iouv=torch.linspace(0.5, 0.95, 10))
    targets = xywh2xyxy(torch.from_numpy(wanted[:, 1:]))
    expected = BaseValidator.match_predictions(
        validator,
        torch.from_numpy(found[:, 5]),
        torch.from_numpy(wanted[:, 0]),
        box_iou(targets, torch.from_numpy(found[:, :4])),
    )
    assert np.array_equal(matched(found, wanted), expected.numpy())


def test_a_perfect_detection_counts_once() -> None:
    label = np.array([[1, 20, 20, 10, 10]], dtype=np.float64)
    box = [15, 15, 25, 25]
    found = np.array([[*box, 0.9, 1], [*box, 0.8, 1], [*box, 0.7, 0]], dtype=np.float32)
    assert matched(found, label).all(axis=1).tolist() == [True, False, False]
    assert matched(found, label)[1:].any() == np.False_


def test_bad_input(onnx_file: Path, data_yaml: Path, tmp_path: Path) -> None:
    empty = [str(data_yaml.parent / "images" / "val" / f"{IMAGES - 1}.png")]
    with pytest.raises(DatasetError, match="none of the 1 images has a labelled object"):
        run(request(onnx_file, data_yaml, images=empty), tmp_path, lambda event: None)
    two = {0: "a", 1: "b"}
    with pytest.raises(CheckpointError, match="it predicts 7 classes, the dataset has 2"):
        run(request(onnx_file, data_yaml, names=two), tmp_path, lambda event: None)
    with pytest.raises(CheckpointError, match=r"its input is \[1, 3, 64, 96\]"):
        run(request(onnx_file, data_yaml, imgsz=(64, 64)), tmp_path, lambda event: None)
    assert not list(tmp_path.iterdir())
