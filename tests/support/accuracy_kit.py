"""A random network whose detections lie in the image, and images labelled from those detections."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml
from pruning_kit import HW, NAMES
from ultralytics.models import YOLO

from prunebench.config.sections import LatencyConfig
from prunebench.measuring.accuracy import Request
from prunebench.measuring.inference import OnnxNetwork, read_input
from prunebench.measuring.postprocess import decode_and_nms
from prunebench.measuring.session import SessionSettings
from prunebench.variants.checkpoint import save_checkpoint
from prunebench.variants.export import export_onnx

SESSION = SessionSettings.of(LatencyConfig())

EMPTY = 2
"""Images at the end that show nothing; one has an empty label file, one has none."""

Outlines = Callable[[np.ndarray, np.ndarray, np.ndarray, np.random.Generator], Iterable[np.ndarray]]
"""Detected boxes, factor, offset and a generator, to the numbers of each label's line."""


def spread_out(network: Any) -> None:
    """Let a network's scores spread over 0..1 and its boxes lie in the image."""
    head = network.model[-1]
    with torch.no_grad():
        raw = network(torch.rand(1, 3, *HW, generator=torch.Generator().manual_seed(0)))[1]
        raw = raw.get("one2many", raw)
        cells = [HW[0] * HW[1] // int(stride) ** 2 for stride in network.stride]
        for level, logits in enumerate(raw["scores"][0].split(cells, dim=1)):
            box, kind = head.cv2[level][-1], head.cv3[level][-1]
            # Scores spread over 0..1.
            gain = 1.5 / logits.std(dim=1)
            kind.weight.mul_(gain[:, None, None, None])
            kind.bias.copy_(-2 - (logits.mean(dim=1) - kind.bias) * gain)
            # Edges near one cell from the centre, so that boxes are small and lie in the image.
            box.bias.copy_(-2 * (torch.arange(16.0) - 1).abs().repeat(4))


def export_spread_out(network: Any, folder: Path) -> Path:
    """Export a network whose scores spread over 0..1 and whose boxes lie in the image."""
    spread_out(network)
    save_checkpoint(network, folder / "source.pt", {})
    return export_onnx(folder / "source.pt", folder, HW, opset=17)


def write_labelled(root: Path, onnx_file: Path, count: int, most: int, outlines: Outlines) -> Path:
    """Write ``count`` random images, labelled by up to ``most`` detections of each class."""
    for kind in ("images", "labels"):
        (root / kind / "val").mkdir(parents=True)
    rng = np.random.default_rng(5)
    network = OnnxNetwork(onnx_file, HW, SESSION)
    for index in range(count):
        path = root / "images" / "val" / f"{index}.png"
        cv2.imwrite(str(path), rng.integers(0, 255, (54, 96, 3), dtype=np.uint8))
        if index == count - 1:
            continue
        rows = _rows(network, path, rng, most, outlines) if index < count - EMPTY else []
        (root / "labels" / "val" / f"{index}.txt").write_text("\n".join(rows))
    file = root / "data.yaml"
    data = {"path": str(root), "train": "images/val", "val": "images/val", "names": NAMES}
    file.write_text(yaml.safe_dump(data))
    return file


def _rows(
    network: OnnxNetwork, path: Path, rng: np.random.Generator, most: int, outlines: Outlines
) -> list[str]:
    tensor, factor, offset = read_input(path, HW, network.head)
    found = decode_and_nms(network(tensor)[0], len(NAMES), 0.001, 0.3, 300, multi_label=True)
    rows = []
    for kind in range(len(NAMES)):
        best = found[found[:, 5] == kind][:most, :4] * rng.uniform(0.96, 1.04)
        for numbers in outlines(best, factor, offset, rng):
            rows.append(f"{kind} " + " ".join(f"{value:.6f}" for value in numbers))
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
        "session": SESSION,
    }
    return Request.model_validate(values | changes)


def of_ultralytics(
    onnx_file: Path, task: str, data_yaml: Path | str, folder: Path, split: str = "val"
) -> Any:
    """What Ultralytics' own validator measures of the same file."""
    return YOLO(onnx_file, task=task).val(
        data=str(data_yaml),
        split=split,
        conf=0.001,
        iou=0.7,
        max_det=300,
        plots=False,
        verbose=False,
        project=str(folder),
    )
