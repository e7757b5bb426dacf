"""A variant's steps run in the cache of steps, and their files put into the variant's folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from prunebench.common.errors import StepError
from prunebench.common.files import place
from prunebench.common.plain import VALIDATION
from prunebench.common.records import FileRef, Record, Structure, TrainingSummary, sha256_of
from prunebench.common.variant_record import VariantRecord
from prunebench.config.strategy_settings import StrategySettings
from prunebench.experiment.given_model import workers_of
from prunebench.experiment.inputs import Experiment
from prunebench.experiment.plan import PlannedVariant
from prunebench.results.run_folder import Seeded, folder_of, save_variant
from prunebench.steps.cache import Elsewhere, StepRun, run_step
from prunebench.steps.events import Emit, StepBegun
from prunebench.variants.retraining.baseline import Request as BaselineRequest
from prunebench.variants.retraining.step import Request as TrainRequest

_elsewhere: ContextVar[Elsewhere | None] = ContextVar("elsewhere", default=None)


@contextlib.contextmanager
def steps_run(elsewhere: Elsewhere) -> Iterator[None]:
    """Let ``elsewhere`` run the steps it takes, in the block and in what is started there.

    It is a context variable: two flows of one process may use different clusters.
    """
    token = _elsewhere.set(elsewhere)
    try:
        yield
    finally:
        _elsewhere.reset(token)


def run_cached(
    experiment: Experiment,
    step: str,
    request: Record,
    inputs: Mapping[str, str],
    emit: Emit,
    *,
    threads: int | None = None,
) -> StepRun:
    """Run a step, or take over what it left (``steps.run_step``); by default with all threads."""
    emit(StepBegun(step=step))
    return run_step(
        experiment.steps_root,
        step,
        request,
        inputs,
        threads=threads or experiment.threads,
        on_event=emit,
        elsewhere=_elsewhere.get(),
    )


def training_request(
    experiment: Experiment, strategy: str, settings: StrategySettings, **own: Any
) -> TrainRequest:
    """A training with ``retrain``'s budget; ``own``: ``checkpoint``, ``round``, ``epochs`` ..."""
    config, shared = experiment.config, experiment.config.retrain
    values = {
        **shared.model_dump(include={"imgsz", "patience", "max_minutes", "loggers"}),
        **_shared(experiment),
        "batch": experiment.batch,
        "recipe": experiment.recipe,
        "image_hw": config.image.hw,
    }
    return TrainRequest(strategy=strategy, settings=settings, **{**values, **own})


def _shared(experiment: Experiment) -> dict[str, Any]:
    """What every training of an experiment is asked."""
    config, device = experiment.config, experiment.device
    return {
        "data_yaml": experiment.data_yaml,
        "device": device,
        "precision": device.precision,
        "workers": workers_of(config, device),
        "cache": config.retrain.cache,
        "threads": experiment.threads,
        "seed": config.seed,
    }


def trained_stock(
    experiment: Experiment, planned: PlannedVariant, model: str, emit: Emit, **own: Any
) -> tuple[FileRef, Structure, TrainingSummary]:
    """A stock network, trained from random weights by the step ``baseline`` as planned.

    ``model`` is Ultralytics' name of its description; ``own`` has ``epochs``, ``imgsz``, ``batch``,
    and ``width`` where it has one of its own.
    """
    config = experiment.config
    request = BaselineRequest(
        model=model,
        **_shared(experiment),
        image_hw=config.image.hw,
        **config.baseline.model_dump(include={"lr0", "optimizer"}),
        **own,
    )
    inputs = {"data_yaml": experiment.data_digest}
    if (description := Path(model).expanduser()).is_file():
        inputs["model"] = sha256_of(description)
    run = run_cached(experiment, "baseline", request, inputs, emit)
    checkpoint, training = trained_files(experiment, planned, run)
    return checkpoint, Structure.model_validate(run.result["structure"]), training


def trained_files(
    experiment: Experiment, variant: PlannedVariant, run: StepRun
) -> tuple[FileRef, TrainingSummary]:
    """Checkpoint and summary of a training, its files placed in the variant's folder."""
    checkpoint = FileRef.model_validate(run.result["checkpoint"])
    metric = VALIDATION[experiment.config.ranking.metric]
    training = TrainingSummary.model_validate(
        {**run.result["training"], "validation": run.result["metrics"].get(metric)}
    )
    if training.curves is not None:
        curves = placed(experiment, variant, run, training.curves, "curves.csv")
        training = training.model_copy(update={"curves": curves})
    return placed(experiment, variant, run, checkpoint, "model.pt"), training


def placed(
    experiment: Experiment, variant: Seeded, run: StepRun, source: FileRef, name: str
) -> FileRef:
    """Put a step's file into a variant's folder and describe it relative to the run."""
    target = variant_file(experiment, variant, name)
    place(Path(run.folder) / source.path, target)
    path = target.relative_to(experiment.run_folder).as_posix()
    return FileRef(path=path, sha256=source.sha256, bytes=source.bytes)


def keep(experiment: Experiment, planned: PlannedVariant, **known: Any) -> VariantRecord:
    """What is known of a planned variant, written into its folder."""
    named = planned.model_dump(include={"name", "parent", "steps", "seed"})
    record = VariantRecord(**named, **known)
    save_variant(experiment.run_folder, record)
    return record


def variant_file(experiment: Experiment, variant: Seeded, name: str) -> Path:
    """Path of a file in the folder of a variant, or of one of its trainings."""
    return experiment.run_folder / "variants" / folder_of(variant) / name


def checkpoint_of(experiment: Experiment, variant: VariantRecord) -> Path:
    """Path of a variant's checkpoint; StepError where it has none."""
    if variant.checkpoint is None:
        raise StepError("make", "its parent has no checkpoint", variant=variant.name)
    return experiment.run_folder / variant.checkpoint.path


def images_digest(experiment: Experiment, count: int) -> str:
    """Digest of the first ``count`` evaluation images: their order follows from the dataset."""
    return f"{experiment.data_digest}:{experiment.split}:{count}"
