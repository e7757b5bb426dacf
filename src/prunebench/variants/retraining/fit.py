"""A whole training: attempts until its last epoch, then the checkpoint that is handed on."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from prunebench.common.errors import DatasetError, PrunebenchError, StepError
from prunebench.common.files import write_atomically
from prunebench.common.records import FileRef
from prunebench.common.text import first_line
from prunebench.data.dataset import images_of, read_dataset
from prunebench.steps.events import Stage
from prunebench.variants.checkpoint import load_checkpoint
from prunebench.variants.devices import using
from prunebench.variants.retraining.events import Progress
from prunebench.variants.retraining.isolation import isolate_ultralytics
from prunebench.variants.retraining.job import Job, Trained
from prunebench.variants.retraining.saved import (
    PATH_ARGUMENTS,
    STEP,
    check_structure,
    finish_checkpoint,
    read_saved,
)
from prunebench.variants.retraining.session import Callbacks, Session
from prunebench.variants.retraining.state import StateStore

MODEL_FILE = "model.pt"


def fit(
    job: Job,
    *,
    trainer: type[Any] | None = None,
    keep_structure: bool = False,
    last_epoch: bool = False,
    callbacks: Callbacks | None = None,
) -> Trained:
    """Train as ``YOLO(checkpoint).train(...)`` does and return the best epoch.

    Every epoch is seeded by itself, so that two strategies, and a continued training, see the
    same images in the same order with the same augmentation.

    Args:
        trainer: Ultralytics trainer class; ``None`` for the stock one of the checkpoint's task.
        keep_structure: Stop at once when the tensors of the trained network or of a saved
            checkpoint differ in name or shape from those of ``job.checkpoint``.
        last_epoch: Return the last epoch instead.
        callbacks: Called by the trainer besides our own. What they do must follow from
            ``job.provenance``, or an interrupted training is continued wrongly.

    Raises:
        CheckpointError: The checkpoint cannot be trained.
        DatasetError: The dataset cannot be used.
        StructureChanged: See ``keep_structure``.
        StepError: The training failed for another reason, told in one sentence.
    """
    isolate_ultralytics(job.budget.loggers)
    job.folder.mkdir(parents=True, exist_ok=True)
    progress = Progress(job.emit, job.budget.epochs)
    progress.tell(Stage(what="loading the checkpoint"))
    parent = load_checkpoint(job.checkpoint)
    dataset = read_dataset(Path(job.budget.data_yaml))
    images_of(dataset, "train")
    images_of(dataset, "val")  # by which Ultralytics chooses the best epoch
    store = StateStore(job.folder, job.digest())
    with _told_as_step_errors(job):
        if not store.state.finished:
            session = Session(job, store, progress, parent, keep_structure)
            with _device_alone(job, progress) if job.budget.device.cards else nullcontext():
                session.run(trainer, callbacks or {})
        trained = _finish(job, store, last_epoch=last_epoch)
        if keep_structure:
            network, _ = read_saved(job.folder / trained.checkpoint.path)
            check_structure(network, parent, "the final file")
    return trained


def _device_alone(job: Job, progress: Progress) -> AbstractContextManager[None]:
    who = f"the training in {job.folder}"
    return using(job.budget.device, who, lambda said: progress.tell(Stage(what=said)))


def _finish(job: Job, store: StateStore, *, last_epoch: bool) -> Trained:
    model, curves = job.folder / MODEL_FILE, job.folder / "curves.csv"
    best, last = store.state.best, store.state.last
    chosen = (last or best) if last_epoch else (best or last)
    if chosen is None:
        raise StepError(STEP, "it ended before its first epoch was saved")
    if chosen.path != MODEL_FILE:
        metrics = finish_checkpoint(job.folder / chosen.path, model, job.provenance)
        write_atomically(curves, store.curves.read_bytes())
        for log in store.fit.glob("events.out.tfevents.*"):  # TensorBoard's
            log.replace(job.folder / log.name)
        store.finish(FileRef.of(model, job.folder), metrics)
    return Trained(
        checkpoint=FileRef.of(model, job.folder),
        curves=FileRef.of(curves, job.folder),
        state=store.state,
        arguments={k: v for k, v in job.arguments.items() if k not in PATH_ARGUMENTS},
    )


@contextlib.contextmanager
def _told_as_step_errors(job: Job) -> Iterator[None]:
    try:
        yield
    except PrunebenchError:
        raise
    except Exception as error:
        text = first_line(error).rstrip(".")
        if text.startswith("Dataset "):
            raise DatasetError(text, where=job.budget.data_yaml) from error
        full = ("allocate memory", "out of memory", "cublas_status_alloc_failed")
        reason = f"{type(error).__name__}: {text}"
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = "the disk is full, free some space and run again: it continues"
        elif isinstance(error, MemoryError) or any(said in text.lower() for said in full):
            size = f"{job.budget.batch} images at {job.budget.imgsz} pixels"
            device = job.budget.device
            fix = "lower retrain.batch or retrain.imgsz"
            of = f" on {device.words}" if device.cards else ""
            reason = f"out of memory{of} with batches of {size}, {fix}"
        elif "NaN" in text:
            reason = f"{text}, lower the learning rate (lr0)"
        raise StepError(STEP, reason) from error
