"""What a strategy is given and what it hands back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prunebench.common.records import FileRef, sha256_of
from prunebench.steps.events import Emit
from prunebench.variants.retraining.state import TrainingState


@dataclass(frozen=True)
class Job:
    """A checkpoint, images, a budget, and a folder to work in.

    Attributes:
        checkpoint: Checkpoint to start from; never written to.
        data_yaml: Ultralytics data YAML.
        folder: The training's own folder; an interrupted training is continued from it.
        arguments: Hyper-parameters as Ultralytics training arguments.
        epochs: Epochs to train.
        imgsz: Square training size in pixels.
        batch: Images per batch.
        workers: Data loader processes (Ultralytics uses none on a CPU).
        threads: Threads of torch.
        seed: Seed of everything random.
        patience: Epochs without gain that end the training, 0 for never.
        max_minutes: Longest wall time over all attempts, or ``None``.
        provenance: What is done, settings included; kept in the final file, see
            ``prunebench.variants.checkpoint.save_checkpoint``.
        emit: Receives progress events.
        teacher: Checkpoint of the unpruned baseline, where there is one.
        new_classes: Whether the data may have other classes than the checkpoint.
    """

    checkpoint: Path
    data_yaml: Path
    folder: Path
    arguments: Mapping[str, Any]
    epochs: int
    imgsz: int
    batch: int
    workers: int
    threads: int
    seed: int
    patience: int
    max_minutes: float | None
    provenance: Mapping[str, Any]
    emit: Emit = field(repr=False)
    teacher: Path | None = None
    new_classes: bool = False

    def digest(self) -> str:
        """Digest of all that decides the result; an interrupted training of it may continue."""
        parts = {
            "checkpoint": sha256_of(self.checkpoint),
            "data": sha256_of(self.data_yaml),
            "teacher": None if self.teacher is None else sha256_of(self.teacher),
            "arguments": dict(self.arguments),
            "provenance": dict(self.provenance),
            "budget": [self.epochs, self.imgsz, self.batch, self.patience, self.max_minutes],
            "seed": self.seed,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Trained:
    """What a training left in its folder.

    Attributes:
        checkpoint: The best epoch's network, ready to hand on.
        curves: Per-epoch CSV as Ultralytics writes it.
        state: What the training did and cost, and the metrics of that epoch.
    """

    checkpoint: FileRef
    curves: FileRef
    state: TrainingState
