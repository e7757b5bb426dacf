"""A whole training: attempts until its last epoch, then the checkpoint that is handed on."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prunebench.common.errors import DatasetError, PrunebenchError, StepError, StructureChanged
from prunebench.common.files import write_atomically
from prunebench.common.records import FileRef
from prunebench.data.dataset import Split, images_of, read_dataset
from prunebench.variants.checkpoint import load_checkpoint
from prunebench.variants.retraining.common import (
    finish_checkpoint,
    isolate_ultralytics,
    parameter_count,
    read_saved,
    shapes_of,
)
from prunebench.variants.retraining.events import Progress
from prunebench.variants.retraining.job import Job, Trained
from prunebench.variants.retraining.session import STEP, Callbacks, Session
from prunebench.variants.retraining.state import StateStore

MODEL_FILE = "model.pt"
CURVES_FILE = "curves.csv"

USED_SPLITS: tuple[Split, ...] = ("train", "val")
"""Splits a training reads: Ultralytics chooses the best epoch by ``val``."""


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
        job: What to train.
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
    isolate_ultralytics()
    job.folder.mkdir(parents=True, exist_ok=True)
    progress = Progress(job.emit, job.epochs)
    progress.stage("loading the checkpoint")
    parent = load_checkpoint(job.checkpoint)
    dataset = read_dataset(job.data_yaml)
    for split in USED_SPLITS:
        images_of(dataset, split)
    store = StateStore(job.folder, job.digest())
    with _told_as_step_errors(job):
        if not store.state.finished:
            session = Session(
                job,
                store,
                progress,
                parent,
                keep_structure=keep_structure,
                callbacks=callbacks or {},
            )
            session.run(trainer)
        trained = _finish(job, store, last_epoch=last_epoch)
        if keep_structure:
            _check_final(job.folder / trained.checkpoint.path, parent)
    return trained


def _finish(job: Job, store: StateStore, *, last_epoch: bool) -> Trained:
    model, curves = job.folder / MODEL_FILE, job.folder / CURVES_FILE
    best, last = store.state.best, store.state.last
    chosen = (last or best) if last_epoch else (best or last)
    if chosen is None:
        raise StepError(STEP, "it ended before its first epoch was saved")
    if chosen.path != MODEL_FILE:
        metrics = finish_checkpoint(job.folder / chosen.path, model, job.provenance)
        write_atomically(curves, store.curves.read_bytes())
        store.finish(FileRef.of(model, job.folder), metrics)
    return Trained(
        checkpoint=FileRef.of(model, job.folder),
        curves=FileRef.of(curves, job.folder),
        state=store.state,
    )


def _check_final(model: Path, parent: Any) -> None:
    network = read_saved(model).network
    if shapes_of(network) != shapes_of(parent):
        raise StructureChanged(
            STEP,
            f"the final file has {parameter_count(network):,} parameters in another structure, "
            f"its parent {parameter_count(parent):,}",
        )


@contextlib.contextmanager
def _told_as_step_errors(job: Job) -> Iterator[None]:
    try:
        yield
    except PrunebenchError:
        raise
    except MemoryError as error:
        raise StepError(STEP, _out_of_memory(job)) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StepError(
                STEP, "the disk is full, free some space and run again: it continues"
            ) from error
        raise StepError(STEP, f"{type(error).__name__}: {_first_line(error)}") from error
    except Exception as error:
        text = _first_line(error)
        if text.startswith("Dataset "):
            raise DatasetError(text, where=job.data_yaml) from error
        if "allocate memory" in text or "out of memory" in text.lower():
            raise StepError(STEP, _out_of_memory(job)) from error
        if "NaN" in text:
            raise StepError(STEP, f"{text}, lower the learning rate (lr0)") from error
        raise StepError(STEP, f"{type(error).__name__}: {text}") from error


def _out_of_memory(job: Job) -> str:
    return (
        f"out of memory with batches of {job.batch} images at {job.imgsz} pixels, "
        "lower retrain.batch or retrain.imgsz"
    )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else "no message"
