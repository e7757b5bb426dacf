"""What a run would do and how long it would take, found out without running it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from prunebench.common.cores import usable_cores
from prunebench.data.dataset import images_of
from prunebench.experiment.duration import Estimate, estimate
from prunebench.experiment.inputs import Checked
from prunebench.experiment.speed_trial import Pace, Request
from prunebench.experiment.there import times_as_slow
from prunebench.steps.child import run_child
from prunebench.steps.events import announce


def dry_run(inputs: Checked) -> Estimate:
    """Train on a few batches, and estimate the time; StepError where that short try failed.

    What a cluster trains is neither tried nor estimated.
    """
    config = inputs.config
    train, validation = images_of(inputs.dataset, "train"), images_of(inputs.dataset, "val")
    request = Request(
        model=inputs.checkpoint or config.model,
        names=inputs.class_names,
        images=tuple(str(image) for image in train[:48]),
        imgsz=config.retrain.imgsz,
        hw=config.image.hw,
        device=None if config.address else inputs.device,
        layers=config.prune.by_latency,
        ignore=config.prune.ignore,
    )
    threads = config.retrain.threads or usable_cores()
    with tempfile.TemporaryDirectory(prefix="prunebench-pace-") as folder:
        tried = run_child("pace", request, Path(folder), threads=threads, on_event=announce)
    there = inputs.there
    return estimate(
        config,
        inputs.variants,
        Pace.model_validate(tried),
        images=(len(train), len(validation), len(inputs.images)),
        slower=1.0 if there is None else times_as_slow(there, config.latency),
    )
