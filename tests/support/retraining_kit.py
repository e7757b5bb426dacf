"""A tiny dataset and a tiny pruned network for the retraining tests."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from prunebench.config.strategy_settings import settings_model
from prunebench.variants.checkpoint import load_checkpoint, save_checkpoint
from prunebench.variants.retraining.step import Request

# Read when torch is imported: spinning threads take the cores from other tests and from children.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

NAMES = {0: "green", 1: "blue"}


def make_dataset(
    root: Path,
    *,
    names: dict[int, str] = NAMES,
    train: int = 6,
    val: int = 3,
    polygons: bool = False,
) -> Path:
    """Write 64x36 images with one coloured box each and return the data YAML."""
    rng = np.random.default_rng(7)
    for split, count in (("train", train), ("val", val)):
        (root / "images" / split).mkdir(parents=True)
        (root / "labels" / split).mkdir(parents=True)
        for index in range(count):
            image = rng.integers(0, 255, (36, 64, 3), dtype=np.uint8)
            x, y = int(rng.integers(0, 44)), int(rng.integers(0, 16))
            kind = index % len(names)
            image[y : y + 20, x : x + 20] = (0, 255, 0) if kind == 0 else (255, 0, 0)
            cv2.imwrite(str(root / "images" / split / f"{index}.png"), image)
            left, right, top, bottom = x / 64, (x + 20) / 64, y / 36, (y + 20) / 36
            if polygons:
                label = f"{kind} {left} {top} {right} {top} {right} {bottom} {left} {bottom}\n"
            else:
                label = f"{kind} {(x + 10) / 64} {(y + 10) / 36} {20 / 64} {20 / 36}\n"
            (root / "labels" / split / f"{index}.txt").write_text(label)
    data_yaml = root / "data.yaml"
    data = {"path": str(root), "train": "images/train", "val": "images/val", "names": names}
    data_yaml.write_text(yaml.safe_dump(data))
    return data_yaml


def make_network(
    path: Path, *, pruned: bool = False, task: str = "detect", names: dict[int, str] = NAMES
) -> Path:
    """Write a tiny network of YOLOv8's modules with random weights."""
    import torch
    from ultralytics.nn.tasks import DetectionModel, SegmentationModel

    torch.manual_seed(0)
    head: list[Any] = ["nc"] if task == "detect" else ["nc", 32, 16]
    description: dict[str, Any] = {
        "nc": len(names),
        "backbone": [
            [-1, 1, "Conv", [8, 3, 2]],
            [-1, 1, "Conv", [16, 3, 2]],
            [-1, 1, "C2f", [16, True]],
            [-1, 1, "Conv", [32, 3, 2]],
            [-1, 1, "C2f", [32, True]],
            [-1, 1, "Conv", [32, 3, 2]],
            [-1, 1, "C2f", [32, True]],
        ],
        "head": [[[4, 6], 1, "Detect" if task == "detect" else "Segment", head]],
    }
    build: Any = DetectionModel if task == "detect" else SegmentationModel
    network = build(description, verbose=False)
    network.names = dict(names)
    network.task = task
    if pruned:
        halve_bottlenecks(network)
    save_checkpoint(network, path, {})
    return path


def halve_bottlenecks(network: Any) -> None:
    """Halve the inner width of every bottleneck: a structure that no description gives."""
    from torch import nn
    from ultralytics.nn.modules.block import Bottleneck

    for module in network.modules():
        if not isinstance(module, Bottleneck):
            continue
        first, second = module.cv1, module.cv2
        width = first.conv.out_channels // 2
        first.conv.weight = nn.Parameter(first.conv.weight[:width].clone())
        second.conv.weight = nn.Parameter(second.conv.weight[:, :width].clone())
        first.conv.out_channels = second.conv.in_channels = first.bn.num_features = width
        for name in ("weight", "bias"):
            setattr(first.bn, name, nn.Parameter(getattr(first.bn, name)[:width].clone()))
        for name in ("running_mean", "running_var"):
            setattr(first.bn, name, getattr(first.bn, name)[:width].clone())


def request(checkpoint: Path, data_yaml: Path, strategy: str, **changes: Any) -> Request:
    """A training of two epochs at 32 pixels; ``settings`` adds to the kit's own."""
    settings = {"lr0": 0.001, "warmup_epochs": 0, "close_mosaic": 1}
    settings |= changes.pop("settings", {})
    values: dict[str, Any] = {
        "strategy": strategy,
        "settings": settings_model(strategy).model_validate(settings),
        "checkpoint": str(checkpoint),
        "data_yaml": str(data_yaml),
        "round": 1,
        "epochs": 2,
        "imgsz": 32,
        "batch": 3,
        "threads": 1,
        "image_hw": (32, 32),
    }
    return Request(**{**values, **changes})


def parameters_in(path: Path) -> int:
    """Parameters of the network in a checkpoint."""
    return sum(parameter.numel() for parameter in load_checkpoint(path).parameters())
