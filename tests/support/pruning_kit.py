"""Stock networks at an eighth of their width, with weights that make differences visible."""

from __future__ import annotations

import copy
import functools
from typing import Any

import torch
from torch import nn
from ultralytics.nn.modules.block import A2C2f
from ultralytics.nn.tasks import (
    ClassificationModel,
    DetectionModel,
    OBBModel,
    PoseModel,
    SegmentationModel,
    yaml_model_load,
)

from prunebench.variants.pruning.alignment import uniform_width
from prunebench.variants.pruning.pruner import left_alone, narrow, open_network

NAMES = {0: "disc", 1: "square", 2: "triangle", 3: "star", 4: "cross", 5: "ring", 6: "bar"}
HW = (64, 96)
ATTENTIVE: dict[str, Any] = {
    "backbone": [
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 1, "Conv", [128, 3, 2]],
        [-1, 1, "A2C2f", [128, True, 4, True]],
        [-1, 1, "Conv", [256, 3, 2]],
        [-1, 1, "C2PSA", [256]],
        [-1, 1, "C3k2", [256, True, 0.5, True]],
    ],
    "head": [[[2, 5], 1, "Detect", ["nc"]]],
}
"""All kinds of attention, each of two heads: ``AAttn`` twice, scaled by ``gamma`` as in YOLO12 l
and x, and ``Attention`` in two blocks.
"""

BUILDERS: dict[str, Any] = {
    "detect": DetectionModel,
    "segment": SegmentationModel,
    "pose": PoseModel,
    "obb": OBBModel,
    "classify": ClassificationModel,
}


def stock_network(name: str, *, names: dict[int, str] = NAMES) -> Any:
    """A network Ultralytics describes, as it would come out of its trainer."""
    return _build(yaml_model_load(f"{name}.yaml"), names, task(name))


def tiny_network(name: str) -> Any:
    """The same layers at width 0.125, with random weights and BatchNorm statistics.

    YOLO12 has its own width of 0.25: its attention takes multiples of 32 channels. Other families'
    attention has a single head at 0.125; ``attentive`` is a network where it has two.
    """
    return copy.deepcopy(_tiny_network(name))


@functools.cache
def _tiny_network(name: str) -> Any:
    if name == "attentive":
        description, width = copy.deepcopy(ATTENTIVE), 1.0
    else:
        description = yaml_model_load(f"{name}.yaml")
        width = 0.25 if name.startswith("yolo12") else 0.125
    description["scales"] = {"t": [0.33, width, 1024]}
    description["scale"] = "t"
    description["yaml_file"] = f"tiny-{name}.yaml"
    torch.manual_seed(0)
    network = _build(description, NAMES, task(name))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
        elif isinstance(module, A2C2f) and module.gamma is not None:
            nn.init.uniform_(module.gamma, 0.5, 1.5)
    return network


def prune_uniformly(
    network: Any, *, ratio: float, round_to: int | None, ignore: tuple[str, ...] = ()
) -> dict[str, str]:
    """Remove the same share of channels everywhere, in place; what was left alone, and why."""
    opened = open_network(network, ignore=ignore)
    kept = {g.root: uniform_width(g, ratio, round_to) for g in opened.graph.groups}
    alone = left_alone(opened.graph, kept, round_to)
    narrow(opened, kept, round_to=round_to)
    return alone


def task(name: str) -> str:
    ends = {"seg": "segment", "pose": "pose", "obb": "obb", "cls": "classify"}
    return ends.get(name.rpartition("-")[2], "detect")


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def predictions(network: nn.Module, *, seed: int = 0) -> list[torch.Tensor]:
    """What the network predicts for one random image."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        outputs = network(torch.rand(1, 3, *HW, generator=generator))[0]
    return list(outputs) if isinstance(outputs, tuple) else [outputs]


def _build(description: dict[str, Any], names: dict[int, str], kind: str) -> Any:
    description["nc"] = len(names)
    if kind == "pose":
        description["kpt_shape"] = [4, 3]
    network = BUILDERS[kind](description, verbose=False)
    network.names, network.task = dict(names), kind
    return network.eval()
