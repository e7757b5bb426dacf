"""Inputs as people really bring them, what a command says of each, and how it is called."""

from __future__ import annotations

import functools
import hashlib
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from pruning_kit import NAMES, tiny_network
from ultralytics.nn.tasks import DetectionModel, yaml_model_load

from prunebench.data.scenes import generate_scenes

INPUTS = "inputs"
"""Folder of a case that no command may change."""


@dataclass(frozen=True)
class Case:
    """One input and one command.

    Attributes:
        name: What is wrong with the input, or odd about it.
        make: Writes it into a folder, which is there.
        command: A command line with ``{inputs}`` for that folder and ``{scenes}`` for good data.
        code: Its exit code.
        says: What its output has to say.
    """

    name: str
    make: Callable[[Path], object]
    command: str
    code: int
    says: str

    def arguments(self, inputs: Path, scenes: Path) -> list[str]:
        """The command line in parts."""
        command = self.command.replace("{inputs}", str(inputs)).replace("{scenes}", str(scenes))
        return shlex.split(command)


def content_of(folder: Path) -> dict[str, str]:
    """Digest of every file and folder below a folder, by relative path."""
    return {
        path.relative_to(folder).as_posix(): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        )
        for path in sorted(folder.rglob("*"))
    }


def good_data(folder: Path) -> Path:
    """Data that nothing is wrong with: a data YAML with the classes of ``pruning_kit.NAMES``."""
    data = generate_scenes(folder, train=4, val=4, test=4)
    values = {**yaml.safe_load(data.read_text(encoding="utf-8")), "names": dict(NAMES)}
    renamed = folder / "good.yaml"
    renamed.write_text(yaml.safe_dump(values), encoding="utf-8")
    return renamed


def checkpoint(
    change: Callable[[Any, dict[str, Any]], object] = lambda network, content: None,
    *,
    description: str = "yolov8n",
    file: str = "model.pt",
) -> Callable[[Path], Path]:
    """A maker of a checkpoint as ``torch.save`` writes it, after ``change`` of its content."""

    def make(folder: Path) -> Path:
        network = tiny_network(description).half()
        content: dict[str, Any] = {"model": network, "train_args": {"imgsz": 64, "epochs": 3}}
        change(network, content)
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(content, path)
        return path

    return make


@functools.cache
def other_network(*, channels: int = 3, names: tuple[str, ...] = tuple(NAMES.values())) -> Any:
    """A narrow yolov8n for images of other channels or other classes."""
    description = yaml_model_load("yolov8n.yaml")
    description |= {"scales": {"t": [0.33, 0.125, 1024]}, "scale": "t"}
    network: Any = DetectionModel(description, ch=channels, nc=len(names), verbose=False)
    network.names = dict(enumerate(names))
    return network
