"""What a run would do and how long it would take, found out without running it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from prunebench.common.cores import usable_cores
from prunebench.config.loading import Config
from prunebench.data.dataset import images_of, read_dataset
from prunebench.experiment.duration import Estimate, estimate
from prunebench.experiment.plan import plan_variants
from prunebench.experiment.prepare import check
from prunebench.experiment.speed_trial import Pace, Request
from prunebench.steps.child import run_child
from prunebench.steps.events import announce

TRIED_IMAGES = 48


def dry_run(config: Config) -> Estimate:
    """Check every input as a run does, train on a few batches, and estimate the time.

    Raises:
        InputError: As ``experiment.check``.
        StepError: The short try failed.
    """
    inputs = check(config)
    dataset = read_dataset(Path(inputs.data_yaml))
    train, validation = images_of(dataset, "train"), images_of(dataset, "val")
    request = Request(
        model=inputs.checkpoint or config.model,
        classes=len(inputs.class_names),
        images=tuple(str(image) for image in train[:TRIED_IMAGES]),
        imgsz=config.retrain.imgsz,
        hw=config.image.hw,
        layers=config.prune.allocation == "latency-aware",
        ignore=config.prune.ignore,
    )
    threads = config.retrain.threads or usable_cores()
    with tempfile.TemporaryDirectory(prefix="prunebench-pace-") as folder:
        tried = run_child("pace", request, Path(folder), threads=threads, on_event=announce)
    return estimate(
        config,
        plan_variants(config),
        Pace.model_validate(tried),
        images=(len(train), len(validation), len(inputs.images)),
    )
