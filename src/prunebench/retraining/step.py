"""The step ``train``: one round of one retraining strategy, in a child process."""

from __future__ import annotations

import os
from pathlib import Path

from prunebench.audit import structure_of
from prunebench.checkpoint import load_checkpoint
from prunebench.child import Emit
from prunebench.config import StrategyConfig
from prunebench.errors import ConfigError
from prunebench.records import FileRef, Record, Structure, TrainingSummary
from prunebench.retraining.job import Job
from prunebench.retraining.preserving import Preserving
from prunebench.retraining.standard import Standard
from prunebench.retraining.strategy import Strategy


class Request(Record):
    """One round of retraining.

    Attributes:
        strategy: Name of the strategy.
        settings: Its hyper-parameters.
        checkpoint: Absolute path of the pruned checkpoint, or of the previous round's.
        data_yaml: Absolute path of the data YAML.
        round: 1 for the first retraining after pruning.
        epochs: Epochs to train.
        imgsz: Square training size in pixels.
        batch: Images per batch.
        workers: Data loader processes (Ultralytics uses none on a CPU).
        threads: Threads of torch.
        seed: Seed of everything random.
        patience: Epochs without gain that end the training, 0 for never.
        max_minutes: Longest wall time over all attempts, or ``None``.
        image_hw: (height, width) in pixels the MACs of the result are counted at.
    """

    strategy: str
    settings: StrategyConfig
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


STRATEGIES: dict[str, Strategy] = {s.name: s for s in (Standard(), Preserving())}


def run(request: Request, workdir: Path, emit: Emit) -> Result:
    """Train, or continue the training that an earlier attempt left in ``workdir``.

    Raises:
        InputError: The checkpoint, the data or the strategy's name cannot be used.
        StepError: The training failed; a saved epoch in ``workdir`` stays for another attempt.
    """
    # OpenMP's threads spin while they wait; on a host with other work that made two threads four
    # times slower than one. It is read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    strategy = STRATEGIES.get(request.strategy)
    if strategy is None:
        raise ConfigError(
            f"unknown strategy {request.strategy!r}", fix=f"use {' or '.join(STRATEGIES)}"
        )
    trained = strategy.train(
        Job(
            checkpoint=Path(request.checkpoint),
            data_yaml=Path(request.data_yaml),
            folder=workdir,
            arguments=request.settings.model_dump(mode="json"),
            epochs=request.epochs,
            imgsz=request.imgsz,
            batch=request.batch,
            workers=request.workers,
            threads=request.threads,
            seed=request.seed,
            patience=request.patience,
            max_minutes=request.max_minutes,
            provenance={"step": "train", "strategy": request.strategy, "round": request.round},
            emit=emit,
        )
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
