"""The step ``train``: one round of one retraining strategy, in a child process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import Field, SerializeAsAny, ValidationInfo, field_validator

from prunebench.common.records import FileRef, Record, Structure, TrainingSummary
from prunebench.config.strategy_settings import StrategySettings, plugin_digest, settings_model
from prunebench.steps.child import WAITING
from prunebench.steps.events import Emit
from prunebench.variants.audit import structure_of
from prunebench.variants.checkpoint import load_checkpoint
from prunebench.variants.retraining.job import Job
from prunebench.variants.retraining.strategy import find_strategy


class Request(Record):
    """One round of retraining.

    Attributes:
        strategy: Name of the strategy.
        settings: Its settings.
        checkpoint: Absolute path of the pruned checkpoint, or of the previous round's.
        data_yaml: Absolute path of the data YAML.
        round: 1 for the first retraining after pruning, 0 for a training before it.
        epochs: Epochs to train.
        imgsz: Square training size in pixels.
        batch: Images per batch.
        workers: Data loader processes (Ultralytics uses none on a CPU).
        threads: Threads of torch.
        seed: Seed of everything random.
        patience: Epochs without gain that end the training, 0 for never.
        max_minutes: Longest wall time over all attempts, or ``None``.
        image_hw: (height, width) in pixels the MACs of the result are counted at.
        teacher: Absolute path of the unpruned baseline, for strategies that learn from it.
        new_classes: Whether the data may have other classes than the checkpoint.
        source: Digest of the strategy's source where another package brings it.
    """

    strategy: str
    settings: SerializeAsAny[StrategySettings]
    checkpoint: str
    data_yaml: str
    round: int
    epochs: int
    imgsz: int
    batch: int
    workers: int = 0
    threads: int = 1
    seed: int = 0
    patience: int = 100
    max_minutes: float | None = None
    image_hw: tuple[int, int]
    teacher: str | None = None
    new_classes: bool = False
    source: str = Field(default_factory=lambda data: plugin_digest(data["strategy"]))

    @field_validator("settings", mode="before")
    @classmethod
    def _by_strategy(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, StrategySettings):
            return value
        return settings_model(info.data["strategy"]).model_validate(value)


class Result(Record):
    """What a retraining left in its folder.

    Attributes:
        checkpoint: The best epoch's network, EMA weights in FP16 (``model.pt``).
        structure: The trained network, read back from that file.
        training: What the training did and cost.
        metrics: Ultralytics' validation metrics of that epoch, by its names.
    """

    checkpoint: FileRef
    structure: Structure
    training: TrainingSummary
    metrics: dict[str, float]


def run(request: Request, workdir: Path, emit: Emit) -> Result:
    """Train, or continue the training that an earlier attempt left in ``workdir``.

    Raises:
        InputError: The checkpoint, the data or the strategy's name cannot be used.
        StepError: The training failed; a saved epoch in ``workdir`` stays for another attempt.
    """
    # Read when torch is imported.
    for name, value in WAITING.items():
        os.environ.setdefault(name, value)
    strategy = find_strategy(request.strategy)
    trained = strategy.train(
        Job(
            checkpoint=Path(request.checkpoint),
            data_yaml=Path(request.data_yaml),
            folder=workdir,
            arguments={},
            epochs=request.epochs,
            imgsz=request.imgsz,
            batch=request.batch,
            workers=request.workers,
            threads=request.threads,
            seed=request.seed,
            patience=request.patience,
            max_minutes=request.max_minutes,
            provenance={
                "step": "train",
                "strategy": request.strategy,
                "round": request.round,
                "settings": request.settings.model_dump(mode="json"),
            },
            emit=emit,
            teacher=None if request.teacher is None else Path(request.teacher),
            new_classes=request.new_classes,
        ),
        request.settings,
    )
    state = trained.state
    return Result(
        checkpoint=trained.checkpoint,
        structure=structure_of(
            load_checkpoint(workdir / trained.checkpoint.path), request.image_hw
        ),
        training=TrainingSummary(
            strategy=request.strategy,
            round=request.round,
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
