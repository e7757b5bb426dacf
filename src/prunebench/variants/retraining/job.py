"""What a strategy is given and what it hands back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import model_serializer

from prunebench.common.records import (
    FOR_A_KEY,
    FileRef,
    Record,
    Structure,
    TrainingSummary,
    sha256_of,
)
from prunebench.config.sections import Cache, Precision
from prunebench.steps.events import Emit
from prunebench.variants.checkpoint import load_checkpoint
from prunebench.variants.devices import Device
from prunebench.variants.retraining.state import TrainingState
from prunebench.variants.structure import structure_of


class Budget(Record):
    """What every request for a training says: the images, and what may be spent on them.

    Attributes:
        imgsz: Square training size in pixels.
        batch: Images per batch, those of all devices together.
        precision: What layers multiply in.
        workers: Processes that load images.
        cache: Where images are kept decoded, ``auto``: where there is room. No part of a key: it
            changes no image.
        patience: Epochs without gain that end the training, 0 for never.
        max_minutes: Longest wall time over all attempts, or ``None``.
        loggers: Ultralytics' experiment trackers that follow the training.
        image_hw: (height, width) in pixels the MACs of the result are counted at.
    """

    data_yaml: str
    epochs: int
    imgsz: int
    batch: int
    device: Device = Device()
    precision: Precision = "float32"
    workers: int = 0
    cache: Cache | Literal["auto"] = "ram"
    threads: int = 1
    seed: int = 0
    patience: int = 0
    max_minutes: float | None = None
    loggers: tuple[str, ...] = ()
    image_hw: tuple[int, int]

    @model_serializer(mode="wrap")
    def _without_cache(self, handler: Any, info: Any) -> Any:
        values = handler(self)
        if info.context == FOR_A_KEY:
            values.pop("cache", None)
        return values


@dataclass(frozen=True)
class Job:
    """A checkpoint, a budget, and a folder to work in.

    Attributes:
        checkpoint: Checkpoint to start from; never written to.
        folder: The training's own folder; an interrupted training is continued from it.
        arguments: Ultralytics training arguments: the recipe, to which a strategy adds its own.
        provenance: What is done, settings included; kept in the final file (``save_checkpoint``).
        teacher: Checkpoint of the unpruned baseline, where there is one.
    """

    checkpoint: Path
    folder: Path
    arguments: Mapping[str, Any]
    budget: Budget
    provenance: Mapping[str, Any]
    emit: Emit = field(repr=False)
    teacher: Path | None = None

    def digest(self) -> str:
        """Digest of all that decides the result; an interrupted training of it may continue."""
        deciding = {"epochs", "imgsz", "batch", "seed", "patience", "max_minutes"}
        deciding |= {"device", "precision", "workers"}
        parts = {
            "checkpoint": sha256_of(self.checkpoint),
            "data": sha256_of(Path(self.budget.data_yaml)),
            "teacher": None if self.teacher is None else sha256_of(self.teacher),
            "arguments": dict(self.arguments),
            "provenance": dict(self.provenance),
            "budget": self.budget.model_dump(mode="json", include=deciding, context=FOR_A_KEY),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class Result(Record):
    """What a step that trains hands back.

    ``checkpoint`` is the best epoch's network, EMA weights in FP16, read back for ``structure``;
    ``metrics`` are of its validation, by Ultralytics' names.
    """

    checkpoint: FileRef
    structure: Structure
    training: TrainingSummary
    metrics: dict[str, float]


@dataclass(frozen=True)
class Trained:
    """What a training left in its folder: the best epoch, and a CSV as Ultralytics writes it."""

    checkpoint: FileRef
    curves: FileRef
    state: TrainingState
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def result(self, folder: Path, strategy: str, number: int, image_hw: tuple[int, int]) -> Result:
        """Describe the trained network in the training's ``folder``; ``number`` is the round's."""
        state = self.state
        return Result(
            checkpoint=self.checkpoint,
            structure=structure_of(load_checkpoint(folder / self.checkpoint.path), image_hw),
            training=TrainingSummary(
                strategy=strategy,
                round=number,
                epochs=state.epochs,
                minutes=state.seconds / 60,
                transferred=state.transferred,
                tensors=state.tensors,
                curves=self.curves,
                resumed=state.resumed,
                stopped=state.stopped,
                arguments=dict(self.arguments),
                trained_on=state.trained_on,
            ),
            metrics=state.metrics,
        )
