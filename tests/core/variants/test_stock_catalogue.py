"""The catalogue agrees with the networks Ultralytics builds."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from pruning_kit import parameters, stock_network
from torch import nn
from ultralytics.nn.tasks import parse_model, yaml_model_load

from prunebench.variants.stock_catalogue import STOCK_NETWORKS, StockNetwork, recognise


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (3_012_213, "yolov8n, 7 classes, unpruned"),
        (3_007_013, "yolov8n, 7 classes, unpruned, BatchNorm folded"),
        (3_157_200, "yolov8n, 80 classes, unpruned"),
        (11_166_560, "yolov8s, 80 classes, unpruned"),
        (25_902_640, "yolov8m, 80 classes, unpruned"),
        (2_624_080, "yolo11n, 80 classes, unpruned"),
        (9_458_752, "yolo11s, 80 classes, unpruned"),
        (20_114_688, "yolo11m, 80 classes, unpruned"),
        (2_572_280, "yolo26n, 80 classes, unpruned"),
        (10_009_784, "yolo26s, 80 classes, unpruned"),
        (21_896_248, "yolo26m, 80 classes, unpruned"),
        (2_752_255, None),
        (1_908_445, None),
        (0, None),
    ],
)
def test_counts_published_by_ultralytics_and_the_report(count: int, expected: str | None) -> None:
    assert recognise(count) == expected


@pytest.mark.parametrize("network", STOCK_NETWORKS, ids=lambda network: network.name)
@pytest.mark.parametrize("classes", [83])
def test_formula_matches_the_layers_ultralytics_parses(network: StockNetwork, classes: int) -> None:
    layers = _parse(network.name, classes)
    assert network.parameters(classes) == parameters(layers)
    assert network.parameters(classes, fused=True) == _folded(layers)


@pytest.mark.parametrize("name", ["yolov8n", "yolo26n"])
def test_formula_matches_a_network_ultralytics_folds(name: str) -> None:
    network = stock_network(name, names={index: str(index) for index in range(5)})
    described = next(item for item in STOCK_NETWORKS if item.name == name)
    assert described.parameters(5) == parameters(network)
    assert described.parameters(5, fused=True) == parameters(network.fuse(verbose=False))


@pytest.mark.parametrize("classes", [1, 150])
def test_the_width_of_the_branch_follows_the_classes_only_between_64_and_100(classes: int) -> None:
    assert STOCK_NETWORKS[0].parameters(classes) == parameters(_parse("yolov8n", classes))


def test_the_number_of_classes_narrows_the_answer() -> None:
    assert recognise(3_012_213, classes=7) == "yolov8n, 7 classes, unpruned"
    assert recognise(3_012_213, classes=8) is None


def test_one_class_is_written_in_the_singular() -> None:
    count = STOCK_NETWORKS[0].parameters(1)
    assert recognise(count) == "yolov8n, 1 class, unpruned"


def test_recognising_a_number_builds_no_network() -> None:
    code = (
        "import sys; from prunebench.variants.audit import audit_number; audit_number(3_012_213)\n"
        "assert not {'torch', 'ultralytics'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def _parse(name: str, classes: int) -> nn.Module:
    description: Any = yaml_model_load(f"{name}.yaml")
    description["nc"] = classes
    with torch.device("meta"):
        layers, _ = parse_model(description, ch=3, verbose=False)
    return layers


def _folded(layers: Any) -> int:
    """Parameters after every scale and shift became a bias and training-only branches went."""
    head = layers[-1]
    dropped = sum(parameters(m) for n, m in head.named_children() if n.startswith("one2one_"))
    norms = sum(
        module.num_features
        for name, module in layers.named_modules()
        if isinstance(module, nn.BatchNorm2d) and "one2one_" not in name
    )
    return parameters(layers) - dropped - norms
