"""Mean average precision of masks agrees with Ultralytics' own segmentation validator.

The network is random, so its labels are made from its own detections: their boxes, scaled a
little, with a corner cut off, some left out. That gives average precisions between 0 and 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from accuracy_kit import export_spread_out, of_ultralytics, request, write_labelled
from pruning_kit import tiny_network

from prunebench.common.errors import DatasetError
from prunebench.common.records import Accuracy
from prunebench.measuring.accuracy import run
from prunebench.measuring.heads.segment import draw_masks
from prunebench.measuring.map_bootstrap import load_detections, mean_ap

IMAGES = 8


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network: Any = tiny_network("yolov8n-seg")
    for coefficients in network.model[-1].cv4:
        # Masks that fill most of their box, with notches and holes.
        torch.nn.init.constant_(coefficients[-1].bias, 0.5)
    return export_spread_out(network, tmp_path_factory.mktemp("onnx"))


@pytest.fixture(scope="module")
def data_yaml(onnx_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_labelled(tmp_path_factory.mktemp("data"), onnx_file, IMAGES, 2, _labels)


def _labels(
    best: np.ndarray, factor: np.ndarray, offset: np.ndarray, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    for x1, y1, x2, y2 in best:
        cut = rng.uniform(0.1, 0.6) * (x2 - x1)
        corners = [[x1, y1], [x2 - cut, y1], [x2, y1 + cut], [x2, y2], [x1, y2]]
        points = np.clip((np.array(corners) - offset[:2]) / factor[:2], 0, 1)
        if np.ptp(points, axis=0).min() > 0.1 and rng.random() < 0.7:
            yield points.ravel()


@pytest.fixture(scope="module")
def evaluated(
    onnx_file: Path, data_yaml: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Accuracy]:
    workdir = tmp_path_factory.mktemp("accuracy")
    return workdir, run(request(onnx_file, data_yaml), workdir, lambda event: None)


def test_both_figures_are_those_of_ultralytics_validator(
    onnx_file: Path, data_yaml: Path, evaluated: tuple[Path, Accuracy], tmp_path: Path
) -> None:
    metrics = of_ultralytics(onnx_file, "segment", data_yaml, tmp_path)
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
        int(index): float(value)
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
