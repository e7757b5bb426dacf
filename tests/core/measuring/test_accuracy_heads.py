"""Keypoints, oriented boxes and a head without NMS are scored as by Ultralytics' validators.

The networks are random, so their labels are made from their own detections, moved a little, some
left out. That gives average precisions between 0 and 1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import torch
import yaml
from accuracy_kit import SESSION, export_spread_out, of_ultralytics, request
from hypothesis import given, settings
from hypothesis import strategies as st
from latency_kit import IMGSZ, write_detector
from pruning_kit import HW, NAMES, tiny_network
from ultralytics.utils.metrics import batch_probiou, kpt_iou
from ultralytics.utils.nms import non_max_suppression
from ultralytics.utils.ops import xywhr2xyxyxyxy, xyxyxyxy2xywhr

from prunebench.common.errors import CheckpointError
from prunebench.common.records import Accuracy
from prunebench.measuring.accuracy import run
from prunebench.measuring.heads.detect import Detect, Found, Rules
from prunebench.measuring.heads.obb import Obb, corners_of, probabilistic_iou, turned_box
from prunebench.measuring.heads.pose import OF_PERSONS, Pose, keypoint_similarity
from prunebench.measuring.inference import OnnxNetwork, read_input
from prunebench.measuring.map_bootstrap import load_detections
from prunebench.variants.export import export_onnx

IMAGES = 8
FOUND = Rules(len(NAMES), HW, 0.001, 0.3, 300, multi_label=True)
KEYS = {"pose": "kpt_shape: [4, 3]\n", "obb": "", "detect": ""}
NETWORKS = {"pose": "yolov8n-pose", "obb": "yolov8n-obb", "detect": "yolov10n"}

boxes = st.lists(
    st.tuples(*[st.floats(1, 60)] * 4, st.floats(-0.78, 2.35)), min_size=1, max_size=6
).map(lambda rows: np.array(rows, dtype=np.float32))


def label(head: Any, row: np.ndarray, frame: Any, rng: np.random.Generator) -> np.ndarray | None:
    """The numbers of a label like a detection, ``None`` where it is not in the image."""
    factor, offset = frame
    if isinstance(head, Obb):
        box = np.append(row[:4], row[6:7])
        box[2:4] *= rng.uniform(0.8, 1.1, 2)
        points = (corners_of(box[:, None])[..., 0] - offset[:2]) / factor[:2]
        points = points.clip(0, 1)
        return points.ravel() if np.ptp(points, axis=0).min() > 0.1 else None
    x1, y1, x2, y2 = row[:4]
    box = np.array([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1])
    box[2:] *= rng.uniform(0.85, 1.1, 2)
    box = (box - offset) / factor
    if not head.points:
        return box if box.min() >= 0 and box.max() <= 1 else None
    points = row[6:].reshape(4, 3).copy()
    points[:, :2] = (points[:, :2] + rng.normal(0, 5, (4, 2)) - offset[:2]) / factor[:2]
    points[:, 2] = rng.integers(0, 3, 4)
    points[:, :2] = points[:, :2].clip(0, 1)
    return np.append(box, points) if box.min() >= 0 and box.max() <= 1 else None


@pytest.fixture(scope="module", params=NETWORKS)
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, Path]:
    """Task, file and data YAML."""
    folder = tmp_path_factory.mktemp(request.param)
    network = tiny_network(NETWORKS[request.param])
    last = network.model[-1]
    with torch.no_grad():
        for branch in getattr(last, "cv4", ()):
            branch[-1].weight.mul_(4)
    if request.param == "detect":
        # Its other head predicts the same.
        last.one2one_cv2, last.one2one_cv3 = last.cv2, last.cv3
    file = export_spread_out(network, folder)
    if request.param == "detect":
        file = export_onnx(folder / "source.pt", folder, HW, opset=17, head="one_to_one")
    for kind in ("images", "labels"):
        (folder / kind / "val").mkdir(parents=True)
    rng = np.random.default_rng(5)
    runs = OnnxNetwork(file, HW, SESSION)
    for index in range(IMAGES):
        image = folder / "images" / "val" / f"{index}.png"
        cv2.imwrite(str(image), rng.integers(0, 255, (54, 96, 3), dtype=np.uint8))
        tensor, *frame = read_input(image, HW, runs.head)
        found = runs.head.find(runs(tensor), FOUND).rows
        best = [row for kind in NAMES for row in found[found[:, 5] == kind][:6]]
        made = [(int(r[5]), label(runs.head, r, frame, rng)) for r in best if rng.random() < 0.7]
        lines = [f"{k} " + " ".join(f"{v:.6f}" for v in n) for k, n in made if n is not None]
        text = "\n".join([*lines, *lines[:1]])  # Ultralytics drops a repeated line.
        (folder / "labels" / "val" / f"{index}.txt").write_text(text)
    data = folder / "data.yaml"
    values = {"path": str(folder), "train": "images/val", "val": "images/val", "names": NAMES}
    data.write_text(yaml.safe_dump(values) + KEYS[request.param])
    return request.param, file, data


@pytest.fixture(scope="module")
def evaluated(
    made: tuple[str, Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Accuracy]:
    workdir = tmp_path_factory.mktemp("accuracy")
    return workdir, run(request(*made[1:]), workdir, lambda event: None)


def test_figures_are_those_of_ultralytics_validator(
    made: tuple[str, Path, Path], evaluated: tuple[Path, Accuracy], tmp_path: Path
) -> None:
    task, file, data = made
    metrics = of_ultralytics(file, task, data, tmp_path)
    accuracy = evaluated[1]
    assert 0.05 < accuracy.map50 < 0.99
    assert accuracy.map50 == pytest.approx(metrics.box.map50, abs=1e-4)
    assert accuracy.map50_95 == pytest.approx(metrics.box.map, abs=1e-4)
    assert accuracy.instances == int(metrics.nt_per_class.sum())
    if task == "pose":
        assert accuracy.pose_map50 is not None
        assert 0.05 < accuracy.pose_map50 < 0.95
        assert abs(accuracy.map50 - accuracy.pose_map50) > 0.01
        assert accuracy.pose_map50 == pytest.approx(metrics.pose.map50, abs=1e-4)
        assert accuracy.pose_map50_95 == pytest.approx(metrics.pose.map, abs=1e-4)
    assert set(accuracy.by_overlap) == ({"box", "pose"} if task == "pose" else {"box"})
    for overlap in accuracy.by_overlap:
        assert load_detections(evaluated[0] / "detections.npz", overlap).tp.shape[1] == 10


@given(one=boxes, other=boxes)
def test_oriented_boxes_overlap_as_in_ultralytics(one: np.ndarray, other: np.ndarray) -> None:
    theirs = batch_probiou(torch.from_numpy(one), torch.from_numpy(other)).numpy()
    np.testing.assert_allclose(probabilistic_iou(one, other), theirs, atol=2e-3)
    corners = corners_of(one.T).transpose(2, 0, 1)
    np.testing.assert_allclose(corners, xywhr2xyxyxyxy(torch.from_numpy(one)), atol=1e-4)
    np.testing.assert_allclose(
        [turned_box(each) for each in corners], xyxyxyxy2xywhr(corners), atol=1e-6
    )


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.sampled_from([1, 40, 700]), several=st.booleans())
def test_oriented_boxes_are_dropped_as_in_ultralytics(seed: int, count: int, several: bool) -> None:
    rng = np.random.default_rng(seed)
    places, sizes = rng.uniform(20, 120, (2, count)), rng.uniform(5, 60, (2, count))
    scores, angles = rng.beta(0.5, 2, (3, count)), rng.uniform(-0.78, 2.35, (1, count))
    output = np.concatenate([places, sizes, scores, angles])[None].astype(np.float32)
    theirs = non_max_suppression(
        torch.from_numpy(output.copy()), 0.1, 0.6, nc=3, rotated=True, multi_label=several
    )[0]
    ours = Obb().decode(output, Rules(3, HW, 0.1, 0.6, 300, multi_label=several))
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5)


@given(seed=st.integers(0, 2**32 - 1), labels=st.integers(0, 4), found=st.integers(0, 4))
def test_keypoints_are_as_similar_as_in_ultralytics(seed: int, labels: int, found: int) -> None:
    rng = np.random.default_rng(seed)
    wanted = rng.uniform(0, 60, (labels, 17, 3)).astype(np.float32)
    wanted[..., 2] = rng.integers(0, 3, (labels, 17))
    places = rng.uniform(0, 60, (found, 17, 2)).astype(np.float32)
    areas = rng.uniform(10, 2000, labels).astype(np.float32)
    spread = np.array(OF_PERSONS, dtype=np.float32) / 10
    theirs = kpt_iou(*map(torch.from_numpy, (wanted, places, areas)), spread.tolist())
    ours = keypoint_similarity(wanted, places, areas, spread)
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5)


def test_a_dataset_may_say_how_far_keypoints_spread() -> None:
    assert Pose((4, 3))._spread().tolist() == [0.25] * 4
    assert Pose((2, 2), (0.1, 0.3))._spread().tolist() == pytest.approx([0.1, 0.3])
    assert Pose()._spread()[-1] == pytest.approx(0.089)


def test_a_picture_shows_what_a_head_finds() -> None:
    box = np.array([[20, 30, 20, 10, 0.9, 1, np.pi / 2]], dtype=np.float32)
    (drawing,) = Obb().drawn(Found(box))
    np.testing.assert_allclose(drawing.box, [15, 20, 25, 40], atol=1e-4)
    assert drawing.outline.shape == (4, 2)
    unseen = [*[10, 20, 30, 40, 0.9, 1], *[12, 22, 0.9], *[28, 38, 0.1]]
    (drawing,) = Pose((2, 3)).drawn(Found(np.array([unseen], dtype=np.float32)))
    assert drawing.box.tolist() == [10, 20, 30, 40]
    np.testing.assert_array_equal(drawing.dots, [[12, 22], [np.nan, np.nan]])
    frame = np.array([64.0, 32, 64, 32]), np.array([0.0, 8, 0, 0])
    boxes = np.array([[1, 0.5, 0.5, 0.25, 0.5]])
    corners = np.array([[0.375, 0.25], [0.625, 0.25], [0.625, 0.75], [0.375, 0.75]], np.float32)
    truth = Obb().truth(boxes, [corners], frame, (48, 64))
    (drawing,) = Obb().drawn(truth)
    np.testing.assert_allclose(drawing.box, [24, 16, 40, 32], atol=1e-4)
    points = np.array([[0.5, 0.5, 2], [0, 0, 0]], dtype=np.float32)
    (drawing,) = Pose((2, 3)).drawn(Pose((2, 3)).truth(boxes, [points], frame, (48, 64)))
    np.testing.assert_array_equal(drawing.dots, [[32, 24], [np.nan, np.nan]])


def test_finished_detections_are_compared_in_whatever_order_they_come() -> None:
    rows = np.array([[[0, 0, 4, 4, 0.9, 1], [8, 8, 9, 9, 0.5, 0], [1, 1, 2, 2, 0.1, 0]]])
    one, other = rows.astype(np.float32), rows[:, [1, 0, 2]].astype(np.float32)
    head = Detect()
    assert head.differences(*head.comparable([other], [one], 2), 2) == (0.0, 0.0)
    moved = other.copy()
    moved[0, 0, 0] += 0.25
    moved[0, 1, 4] -= 0.125
    px, score = head.differences(*head.comparable([moved], [one], 2), 2)
    assert (px, score) == (0.25, 0.125)
    renamed = other.copy()
    renamed[0, 0, 5] = 1
    assert head.differences(*head.comparable([renamed], [one], 2), 2)[1] >= 0.4


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        ({"task": "depth"}, "task in its metadata is 'depth', not detect or segment or"),
        ({"task": "pose", "kpt_shape": "[" * 100_000}, "kpt_shape in its metadata is '\\[\\["),
        ({"task": "pose", "kpt_shape": "17"}, "kpt_shape in its metadata is '17', no shape"),
        ({"task": "pose", "kpt_shape": "[4, -3]"}, "kpt_shape in its metadata is"),
    ],
)
def test_a_file_that_says_what_no_head_predicts_is_bad_input(
    metadata: dict[str, str], problem: str, tmp_path: Path
) -> None:
    model = onnx.load(write_detector(tmp_path / "model.onnx", 1).onnx)
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(CheckpointError, match=problem):
        OnnxNetwork(tmp_path / "model.onnx", IMGSZ, SESSION)
