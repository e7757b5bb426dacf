"""Mean average precision of masks agrees with Ultralytics' own segmentation validator.

The network is random, so its labels are made from its own detections: their boxes, scaled a
little, with a corner cut off, some left out. That gives average precisions between 0 and 1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from pruning_kit import HW, NAMES, tiny_network
from ultralytics.models import YOLO

from prunebench.accuracy import Request, draw_masks, run
from prunebench.checkpoint import save_checkpoint
from prunebench.errors import DatasetError
from prunebench.export import export_onnx
from prunebench.inference import OnnxNetwork, read_letterboxed
from prunebench.latency.postprocess import decode_and_nms
from prunebench.map_bootstrap import load_detections, mean_ap
from prunebench.records import Accuracy

IMAGES = 8
EMPTY = 2
"""Images at the end that show nothing; one has an empty label file, one has none."""


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("onnx")
    network: Any = tiny_network("yolov8n-seg")
    head = network.model[-1]
    with torch.no_grad():
        raw = network(torch.rand(1, 3, *HW, generator=torch.Generator().manual_seed(0)))[1]
        cells = [HW[0] * HW[1] // int(stride) ** 2 for stride in network.stride]
        for level, logits in enumerate(raw["scores"][0].split(cells, dim=1)):
            box, kind = head.cv2[level][-1], head.cv3[level][-1]
            # Scores spread over 0..1.
            gain = 1.5 / logits.std(dim=1)
            kind.weight.mul_(gain[:, None, None, None])
            kind.bias.copy_(-2 - (logits.mean(dim=1) - kind.bias) * gain)
            # Edges near one cell from the centre, so that boxes are small and lie in the image.
            box.bias.copy_(-2 * (torch.arange(16.0) - 1).abs().repeat(4))
            # Masks that fill most of their box, with notches and holes.
            head.cv4[level][-1].bias.fill_(0.5)
    save_checkpoint(network, folder / "source.pt", {})
    return export_onnx(folder / "source.pt", folder, HW, opset=17)


@pytest.fixture(scope="module")
def data_yaml(onnx_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for kind in ("images", "labels"):
        (root / kind / "val").mkdir(parents=True)
    rng = np.random.default_rng(5)
    network = OnnxNetwork(onnx_file, HW)
    for index in range(IMAGES):
        path = root / "images" / "val" / f"{index}.png"
        cv2.imwrite(str(path), rng.integers(0, 255, (54, 96, 3), dtype=np.uint8))
        if index == IMAGES - 1:
            continue
        rows = _labels(network, path, rng) if index < IMAGES - EMPTY else []
        (root / "labels" / "val" / f"{index}.txt").write_text("\n".join(rows))
    file = root / "data.yaml"
    data = {"path": str(root), "train": "images/val", "val": "images/val", "names": NAMES}
    file.write_text(yaml.safe_dump(data))
    return file


def _labels(network: OnnxNetwork, path: Path, rng: np.random.Generator) -> list[str]:
    tensor, factor, offset = read_letterboxed(path, HW)
    found = decode_and_nms(network(tensor)[0], len(NAMES), 0.001, 0.3, 300, multi_label=True)
    rows = []
    for kind in range(len(NAMES)):
        best = found[found[:, 5] == kind][:2, :4] * rng.uniform(0.96, 1.04)
        for x1, y1, x2, y2 in best:
            cut = rng.uniform(0.1, 0.6) * (x2 - x1)
            corners = [[x1, y1], [x2 - cut, y1], [x2, y1 + cut], [x2, y2], [x1, y2]]
            points = np.clip((np.array(corners) - offset[:2]) / factor[:2], 0, 1)
            if np.ptp(points, axis=0).min() > 0.1 and rng.random() < 0.7:
                rows.append(f"{kind} " + " ".join(f"{value:.6f}" for value in points.flat))
    # Ultralytics drops a repeated line.
    return [*rows, rows[0]]


def request(onnx_file: Path, data_yaml: Path, **changes: Any) -> Request:
    images = sorted((data_yaml.parent / "images" / "val").iterdir())
    values: dict[str, Any] = {
        "onnx": str(onnx_file),
        "images": tuple(str(image) for image in images),
        "names": NAMES,
        "imgsz": HW,
        "confidence": 0.001,
        "iou": 0.7,
        "max_det": 300,
    }
    return Request.model_validate(values | changes)


@pytest.fixture(scope="module")
def evaluated(
    onnx_file: Path, data_yaml: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Accuracy]:
    workdir = tmp_path_factory.mktemp("accuracy")
    return workdir, run(request(onnx_file, data_yaml), workdir, lambda event: None)


def test_both_figures_are_those_of_ultralytics_validator(
    onnx_file: Path, data_yaml: Path, evaluated: tuple[Path, Accuracy], tmp_path: Path
) -> None:
    metrics = YOLO(onnx_file, task="segment").val(
        data=str(data_yaml),
        split="val",
        conf=0.001,
        iou=0.7,
        max_det=300,
        plots=False,
        verbose=False,
        project=str(tmp_path),
    )
    accuracy = evaluated[1]
    assert accuracy.mask_map50 is not None
    assert 0.05 < accuracy.map50 < 0.95
    assert 0.05 < accuracy.mask_map50 < 0.95
    assert abs(accuracy.map50 - accuracy.mask_map50) > 0.01
    assert accuracy.map50 == pytest.approx(metrics.box.map50, abs=1e-4)
    assert accuracy.map50_95 == pytest.approx(metrics.box.map, abs=1e-4)
    assert accuracy.mask_map50 == pytest.approx(metrics.seg.map50, abs=1e-4)
    assert accuracy.mask_map50_95 == pytest.approx(metrics.seg.map, abs=1e-4)
    per_class = {
        NAMES[int(index)]: float(value)
        for index, value in zip(metrics.seg.ap_class_index, metrics.seg.ap50, strict=True)
    }
    assert accuracy.mask_per_class == pytest.approx(per_class, abs=1e-4)
    assert accuracy.mask_per_class_50_95 is not None
    assert set(accuracy.mask_per_class_50_95) == set(per_class)
    assert accuracy.instances == int(metrics.nt_per_class.sum())


def test_raw_matches_give_both_figures_again(evaluated: tuple[Path, Accuracy]) -> None:
    workdir, accuracy = evaluated
    path = workdir / accuracy.detections.path
    ones = np.ones((1, IMAGES))
    # Ultralytics leaves the order of equal scores to an unstable sort; a random network has some.
    assert mean_ap(load_detections(path), ones)[0] == pytest.approx(accuracy.map50, abs=0.005)
    masks = load_detections(path, "mask")
    assert mean_ap(masks, ones)[0] == pytest.approx(accuracy.mask_map50, abs=0.005)
    assert masks.tp.shape == (len(masks.confidence), 10)


def test_where_labels_overlap_the_smaller_one_keeps_the_pixels() -> None:
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=np.float32)
    small, large = 0.25 * square + 0.25, 0.75 * square
    order, masks = draw_masks([small, large], np.array([64.0, 64.0]), np.zeros(2), (64, 64))
    assert order.tolist() == [1, 0]
    assert masks.shape == (2, 16, 16)
    assert not (masks[0] & masks[1]).any()
    assert masks[1].sum() == pytest.approx(4 * 4, abs=9)
    assert masks.sum() == pytest.approx(12 * 12, abs=25)


def test_boxes_are_no_labels_for_a_segmentation_network(
    onnx_file: Path, data_yaml: Path, tmp_path: Path
) -> None:
    image = tmp_path / "images" / "a.png"
    image.parent.mkdir()
    cv2.imwrite(str(image), np.zeros((54, 96, 3), dtype=np.uint8))
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.2 0.2")
    with pytest.raises(DatasetError, match="holds boxes, but a segmentation model needs polygons"):
        run(request(onnx_file, data_yaml, images=(str(image),)), tmp_path, lambda event: None)
    assert not (tmp_path / "detections.npz").exists()
