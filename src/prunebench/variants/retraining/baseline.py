"""The step ``baseline``: train a network description from random weights.

The untrained network is written as a checkpoint first and then trained like any other, so that an
interrupted training continues, and the same code watches it.
"""

from __future__ import annotations

import json
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import cv2

from prunebench.common.files import write_atomically
from prunebench.common.records import FOR_A_KEY, sha256_of
from prunebench.data.dataset import read_dataset
from prunebench.steps.events import Emit
from prunebench.variants.checkpoint import save_checkpoint
from prunebench.variants.described import described_network
from prunebench.variants.retraining.fit import fit
from prunebench.variants.retraining.job import Budget, Job, Result, Trained

LIBRARIES: Final = ("ultralytics", "torch", "torchvision", "numpy")


class Request(Budget):
    """One training of a baseline.

    Attributes:
        model: Network description (``yolov8n.yaml``): Ultralytics' name of one, or a path.
        lr0: Initial learning rate.
        width: Multiplier of every layer's channels in place of that of the model's size.
    """

    model: str
    lr0: float = 0.002
    optimizer: str = "AdamW"
    width: float | None = None


def run(request: Request, workdir: Path, emit: Emit) -> Result:
    """Train, or continue the training that an earlier attempt left in ``workdir``."""
    return _train(request, workdir, emit).result(workdir, "baseline", 0, request.image_hw)


def train_baseline(request: Request, out: Path, *, command: str, emit: Emit) -> None:
    """Train a network from scratch and write its checkpoint and a JSON that says how.

    It works in a hidden folder beside ``out``; the same call continues an interrupted training.

    Args:
        out: Checkpoint to write, ``.pt``; the JSON is written to ``out.with_suffix(".json")``.
        command: Command line that was given, for the JSON.

    Raises:
        ConfigError: ``model`` is no network description.
        DatasetError: The data YAML cannot be used.
        StepError: The training failed.
    """
    folder = out.parent / f".{out.stem}-training"
    trained = _train(request, folder, emit)
    write_atomically(out, (folder / trained.checkpoint.path).read_bytes())
    description = {
        "file": out.name,
        "sha256": sha256_of(out),
        "bytes": out.stat().st_size,
        "command": command,
        "settings": _settings(request),
        "minutes": round(trained.state.seconds / 60, 1),
        "validation": {name: round(value, 5) for name, value in trained.state.metrics.items()},
        "libraries": {name: version(name) for name in LIBRARIES} | {"opencv": cv2.__version__},
    }
    write_atomically(out.with_suffix(".json"), json.dumps(description, indent=2) + "\n")
    shutil.rmtree(folder)


def _train(request: Request, folder: Path, emit: Emit) -> Trained:
    start = folder / "start.pt"
    _write_untrained(request, start)
    job = Job(
        checkpoint=start,
        folder=folder,
        arguments={
            "optimizer": request.optimizer,
            "lr0": request.lr0,
            # Ultralytics gathers gradients over 64 images for each step; from random weights and
            # a few hundred images that is too few steps to learn from.
            "nbs": request.batch,
        },
        budget=request,
        provenance={"step": "baseline", **_settings(request)},
        emit=emit,
    )
    return fit(job)


def _write_untrained(request: Request, path: Path) -> None:
    """Write the network with what the dataset names and random weights; the same seed, the same."""
    import torch

    dataset = read_dataset(Path(request.data_yaml))
    torch.manual_seed(request.seed)
    network = described_network(request.model, dataset.names, request.width, dataset.keypoints)
    save_checkpoint(network, path, {"step": "untrained", "model": Path(request.model).name})


def _settings(request: Request) -> dict[str, Any]:
    """What was asked for, without paths of this machine and without what changes no result."""
    left_out = {"data_yaml", "threads", "image_hw", "patience", "max_minutes"}
    settings = request.model_dump(exclude=left_out, context=FOR_A_KEY)
    return {**settings, "model": Path(request.model).name}
