"""A variant's steps run in the cache of steps, and their files put into the variant's folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from prunebench.child import Emit, Event
from prunebench.errors import StepError
from prunebench.experiment import Experiment
from prunebench.files import place
from prunebench.records import FileRef, Record, TrainingSummary, VariantRecord
from prunebench.steps import StepRun, run_step


def run_cached(
    experiment: Experiment,
    step: str,
    request: Record,
    inputs: Mapping[str, str],
    emit: Emit,
    *,
    threads: int | None = None,
) -> StepRun:
    """Run a step, or take over what it left; see ``steps.run_step``.

    Args:
        experiment: Says where steps are kept and how many threads a training has.
        step: A key of ``STEP_MODULES``.
        request: What the step's ``run`` receives.
        inputs: Field of the request that names files, to the digest of their content.
        emit: Receives its events.
        threads: Its threads, ``None``: those of a training.

    Raises:
        InputError: The step found bad input.
        StepError: The step failed.
    """
    emit({"kind": "stage", "text": step})
    return run_step(
        experiment.steps_root,
        step,
        request,
        inputs,
        threads=threads or experiment.threads,
        on_event=emit,
    )


def trained_files(
    experiment: Experiment, variant: str, run: StepRun
) -> tuple[FileRef, TrainingSummary]:
    """Checkpoint and summary of a training, its files placed in the variant's folder."""
    checkpoint = FileRef.model_validate(run.result["checkpoint"])
    training = TrainingSummary.model_validate(run.result["training"])
    if training.curves is not None:
        curves = placed(experiment, variant, run, training.curves, "curves.csv")
        training = training.model_copy(update={"curves": curves})
    return placed(experiment, variant, run, checkpoint, "model.pt"), training


def placed(
    experiment: Experiment, variant: str, run: StepRun, source: FileRef, name: str
) -> FileRef:
    """Put a step's file into a variant's folder and describe it relative to the run."""
    target = variant_file(experiment, variant, name)
    place(Path(run.folder) / source.path, target)
    path = target.relative_to(experiment.run_folder).as_posix()
    return FileRef(path=path, sha256=source.sha256, bytes=source.bytes)


def variant_file(experiment: Experiment, variant: str, name: str) -> Path:
    """Path of a file in a variant's folder."""
    return experiment.run_folder / "variants" / variant / name


def checkpoint_of(experiment: Experiment, variant: VariantRecord) -> Path:
    """Path of a variant's checkpoint.

    Raises:
        StepError: It has none.
    """
    if variant.checkpoint is None:
        raise StepError("make", "its parent has no checkpoint", variant=variant.name)
    return experiment.run_folder / variant.checkpoint.path


def images_digest(experiment: Experiment, count: int) -> str:
    """Digest of the first ``count`` evaluation images: their order follows from the dataset."""
    return f"{experiment.data_digest}:{experiment.split}:{count}"


def named(announce: Emit, variant: str) -> Emit:
    """An emitter that says which variant its events belong to."""

    def emit(event: Event) -> None:
        announce({"variant": variant, **event})

    return emit
