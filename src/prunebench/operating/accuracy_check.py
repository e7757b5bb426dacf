"""The accuracy of a promoted ONNX file evaluated again, against what was recorded of it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from prunebench.common.errors import InputError
from prunebench.common.records import Accuracy, Record
from prunebench.data.dataset import dataset_digest, read_dataset
from prunebench.experiment.inputs import read_experiment
from prunebench.experiment.make import accuracy_request
from prunebench.operating.registry import Entry
from prunebench.steps.child import run_child
from prunebench.steps.events import Emit

TOLERANCE = 0.005
"""Difference in accuracy (0..1) that counts as none: on another CPU, rounding moves single
detections of the same file across a threshold; or the class of an image, whatever its share is."""


class AccuracyCheck(Record):
    """What the evaluation of one entry came to, in ``metric`` (0..1); ``holds``: both agree."""

    entry: str
    recorded: float
    now: float
    images: int
    holds: bool
    metric: str = "mAP50"


def accuracy_sentence(check: AccuracyCheck) -> str:
    """What the evaluation came to, in words."""
    agrees = "as recorded" if check.holds else f"but {check.recorded:.3f} was recorded"
    return f"{check.entry}: {check.metric} {check.now:.3f} on {check.images} images, {agrees}."


def check_accuracy(entry: Entry, registry: Path, announce: Emit) -> AccuracyCheck:
    """Evaluate the file of an entry on the images it was evaluated on; nothing cached is used.

    Raises:
        InputError: Its run, its ONNX file or its images are gone or have changed.
        StepError: The evaluation failed.
    """
    variant = entry.subject(registry)
    folder = entry.run_folder(registry)
    experiment = read_experiment(folder)
    if variant.exported is None or variant.accuracy is None:
        raise InputError(f"{variant.name} has no accuracy", where=folder, fix="run it again")
    if dataset_digest(read_dataset(Path(experiment.data_yaml))) != experiment.data_digest:
        raise InputError(
            f"the images or labels that {entry.name} was evaluated on have changed",
            where=experiment.data_yaml,
            fix="put them back, or run the experiment on the new ones",
        )
    request = accuracy_request(experiment, variant.exported, folder)
    with tempfile.TemporaryDirectory(prefix="prunebench-accuracy-") as work:
        plain = run_child("accuracy", request, Path(work), threads=1, on_event=announce)
    now, recorded = Accuracy.model_validate(plain).map50, variant.accuracy.map50
    images = len(experiment.images)
    return AccuracyCheck(
        entry=entry.name,
        recorded=recorded,
        now=now,
        images=images,
        holds=agree(now, recorded, images, variant.accuracy.metric),
        metric=variant.accuracy.name,
    )


def agree(now: float, recorded: float, images: int, metric: str) -> bool:
    """Whether two accuracies of the same file differ by no more than rounding makes them."""
    one_image = 1 / images if metric == "top1" else 0.0
    return abs(now - recorded) <= max(TOLERANCE, one_image) + 1e-6  # float32 rounds the shares.
