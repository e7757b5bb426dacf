"""The step ``baseline``: train a network description from random weights.

The untrained network is written as a checkpoint first and then trained like any other, so that an
interrupted training continues, and the same code watches it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import cv2

from prunebench.common.errors import ConfigError
from prunebench.common.files import write_atomically
from prunebench.common.records import FileRef, Record, Structure, TrainingSummary, sha256_of
from prunebench.data.dataset import read_dataset
from prunebench.steps.events import Emit, Event
from prunebench.variants.audit import structure_of
from prunebench.variants.checkpoint import load_checkpoint, save_checkpoint
from prunebench.variants.retraining.fit import fit
from prunebench.variants.retraining.job import Job, Trained
from prunebench.variants.stock_width import stock_description

OPTIMIZER: Final = "AdamW"
LR0: Final = 0.002

_LIBRARIES: Final = ("ultralytics", "torch", "torchvision", "numpy")


class Request(Record):
    """One training of a baseline.

    Attributes:
        model: Network description (``yolov8n.yaml``): Ultralytics' name of one, or a path.
        data_yaml: Absolute path of the data YAML.
        epochs: Epochs to train.
        imgsz: Square training size in pixels.
        batch: Images per batch.
        seed: Seed of everything random, the weights included.
        lr0: Initial learning rate.
        optimizer: Ultralytics' name of the optimizer.
        threads: Threads of torch.
        image_hw: (height, width) in pixels the MACs of the result are counted at.
        width: Multiplier of every layer's channels in place of that of the model's size.
    """

    model: str
    data_yaml: str
    epochs: int
    imgsz: int
    batch: int
    seed: int = 0
    lr0: float = LR0
    optimizer: str = OPTIMIZER
    threads: int = 1
    image_hw: tuple[int, int]
    width: float | None = None


class Result(Record):
    """What the training left in its folder.

    Attributes:
        checkpoint: The best epoch's network, EMA weights in FP16 (``model.pt``).
        structure: The trained network, read back from that file.
        training: What the training did and cost; its ``round`` is 0.
        metrics: Ultralytics' validation metrics of that epoch, by its names.
    """

    checkpoint: FileRef
    structure: Structure
    training: TrainingSummary
    metrics: dict[str, float]


def run(request: Request, workdir: Path, emit: Emit) -> Result:
    """Train, or continue the training that an earlier attempt left in ``workdir``.

    Raises:
        ConfigError: ``model`` is no network description.
        DatasetError: The data YAML cannot be used.
        StepError: The training failed; a saved epoch in ``workdir`` stays for another attempt.
    """
    trained = _train(request, workdir, emit)
    state = trained.state
    return Result(
        checkpoint=trained.checkpoint,
        structure=structure_of(
            load_checkpoint(workdir / trained.checkpoint.path), request.image_hw
        ),
        training=TrainingSummary(
            strategy="baseline",
            round=0,
            epochs=state.epochs,
            minutes=state.seconds / 60,
            transferred=state.transferred,
            tensors=state.tensors,
            curves=trained.curves,
            resumed=state.resumed,
            stopped=state.stopped,
        ),
        metrics=state.metrics,
    )


def train_baseline(
    *,
    model: str,
    data_yaml: Path,
    out: Path,
    epochs: int,
    imgsz: int,
    batch: int,
    seed: int,
    lr0: float = LR0,
    optimizer: str = OPTIMIZER,
    threads: int,
    command: str | None = None,
    emit: Emit | None = None,
) -> Path:
    """Train a network from scratch and write its checkpoint and a JSON that says how.

    It works in a hidden folder beside ``out``; the same call continues an interrupted training.

    Args:
        model: Network description (``yolov8n.yaml``): Ultralytics' name of one, or a path.
        data_yaml: Ultralytics data YAML.
        out: Checkpoint to write, ``.pt``; the JSON is written to ``out.with_suffix(".json")``.
        epochs: Epochs to train.
        imgsz: Square training size in pixels.
        batch: Images per batch.
        seed: Seed of everything random, the weights included.
        lr0: Initial learning rate.
        optimizer: Ultralytics' name of the optimizer.
        threads: Threads of torch.
        command: Command line that was given, for the JSON.
        emit: Receives progress events.

    Returns:
        ``out``.

    Raises:
        ConfigError: ``model`` is no network description, or ``out`` does not end in ``.pt``.
        DatasetError: The data YAML cannot be used.
        StepError: The training failed.
    """
    if out.suffix != ".pt":
        raise ConfigError("a checkpoint ends in .pt", where=out, fix=f"use {out.stem}.pt")
    request = Request(
        model=model,
        data_yaml=str(data_yaml),
        epochs=epochs,
        imgsz=imgsz,
        batch=batch,
        seed=seed,
        lr0=lr0,
        optimizer=optimizer,
        threads=threads,
        image_hw=(imgsz, imgsz),
    )
    folder = out.parent / f".{out.stem}-training"
    trained = _train(request, folder, emit or _silent)
    write_atomically(out, (folder / trained.checkpoint.path).read_bytes())
    write_atomically(
        out.with_suffix(".json"),
        json.dumps(_description(out, request, trained, command), indent=2) + "\n",
    )
    shutil.rmtree(folder)
    return out


def _train(request: Request, folder: Path, emit: Emit) -> Trained:
    start = folder / "start.pt"
    _write_untrained(request, start)
    job = Job(
        checkpoint=start,
        data_yaml=Path(request.data_yaml),
        folder=folder,
        arguments={
            "optimizer": request.optimizer,
            "lr0": request.lr0,
            # Ultralytics gathers gradients over 64 images for each step; from random weights and
            # a few hundred images that is too few steps to learn from.
            "nbs": request.batch,
        },
        epochs=request.epochs,
        imgsz=request.imgsz,
        batch=request.batch,
        workers=0,
        threads=request.threads,
        seed=request.seed,
        patience=0,
        max_minutes=None,
        provenance={"step": "baseline", **_settings(request)},
        emit=emit,
    )
    return fit(job)


def _write_untrained(request: Request, path: Path) -> None:
    """Write the network with the dataset's classes and random weights; the same seed, the same."""
    import torch
    from ultralytics.nn.tasks import DetectionModel

    names = read_dataset(Path(request.data_yaml)).names
    torch.manual_seed(request.seed)
    try:
        build: Any = DetectionModel
        description = stock_description(request.model, request.width)
        network = build(description, nc=len(names), verbose=False)
    except Exception as error:
        # Ultralytics' parser raises whatever a wrong description makes it stumble over.
        raise ConfigError(
            "the model is no description of a detection network",
            where=request.model,
            fix="use one of Ultralytics', such as yolov8n.yaml",
        ) from error
    network.names = names
    save_checkpoint(network, path, {"step": "untrained", "model": Path(request.model).name})


def _settings(request: Request) -> dict[str, Any]:
    """What was asked for, without paths of this machine and without what changes no result."""
    settings = request.model_dump(exclude={"data_yaml", "threads", "image_hw"})
    return {**settings, "model": Path(request.model).name}


def _description(
    out: Path, request: Request, trained: Trained, command: str | None
) -> Mapping[str, Any]:
    return {
        "file": out.name,
        "sha256": sha256_of(out),
        "bytes": out.stat().st_size,
        "command": command,
        "settings": _settings(request),
        "minutes": round(trained.state.seconds / 60, 1),
        "validation": {name: round(value, 5) for name, value in trained.state.metrics.items()},
        "libraries": {name: version(name) for name in _LIBRARIES} | {"opencv": cv2.__version__},
    }


def _silent(event: Event) -> None:
    """Drop an event: nobody listens."""
