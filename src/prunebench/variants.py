"""The steps that make, export and evaluate one variant; each takes records and returns one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from prunebench.accuracy import Request as AccuracyRequest
from prunebench.audit import judge
from prunebench.child import Emit, Event
from prunebench.errors import StepError
from prunebench.experiment import Experiment
from prunebench.export import Request as ExportRequest
from prunebench.files import place
from prunebench.latency.fingerprint import kernel_block
from prunebench.plan import PlannedVariant
from prunebench.pruning.step import Request as PruneRequest
from prunebench.records import (
    Accuracy,
    Exported,
    FileRef,
    Record,
    Structure,
    TrainingSummary,
    VariantRecord,
    sha256_of,
)
from prunebench.retraining.baseline import Request as BaselineRequest
from prunebench.retraining.step import Request as TrainRequest
from prunebench.runs import save_variant
from prunebench.steps import StepRun, run_step


def make_variant(
    experiment: Experiment,
    planned: PlannedVariant,
    parent: VariantRecord | None,
    baseline: VariantRecord | None,
    announce: Emit,
) -> VariantRecord:
    """Make a variant's checkpoint from its parent's and audit it.

    Args:
        experiment: The prepared experiment.
        planned: The variant.
        parent: Its parent, ``None`` for the baseline.
        baseline: The unpruned baseline, ``None`` for the baseline itself.
        announce: Receives progress events.

    Raises:
        InputError: The step found bad input.
        StepError: The step failed.
    """
    emit = _named(announce, planned.name)
    left_alone: dict[str, str] = {}
    training = None
    if parent is None:
        checkpoint, structure, training = _baseline(experiment, planned, emit)
    else:
        inputs = {"data_yaml": experiment.data_digest}
        if parent.checkpoint is not None:
            inputs["checkpoint"] = parent.checkpoint.sha256
        if planned.strategy is None:
            prune = _prune_request(experiment, planned, parent)
            run = _run(experiment, "prune", prune, inputs, emit)
            source = FileRef.model_validate(run.result["checkpoint"])
            checkpoint = _placed(experiment, planned.name, run, source, "model.pt")
            left_alone = dict(run.result["left_alone"])
        else:
            teacher = baseline or parent
            request = _train_request(experiment, planned, parent, teacher, planned.strategy)
            inputs["teacher"] = sha256_of(_checkpoint(experiment, teacher))
            run = _run(experiment, "train", request, inputs, emit)
            checkpoint, training = _trained(experiment, planned.name, run)
        structure = Structure.model_validate(run.result["structure"])
    audit = judge(
        structure,
        parent=None if parent is None else parent.audit,
        baseline=None if baseline is None else baseline.audit,
        left_alone=left_alone,
    )
    record = VariantRecord(
        name=planned.name,
        parent=planned.parent,
        steps=planned.steps,
        checkpoint=checkpoint,
        audit=audit,
        training=training,
    )
    save_variant(experiment.run_folder, record)
    emit({"kind": "finished", "text": f"{audit.verdict}, {audit.why}"})
    return record


def export_variant(experiment: Experiment, variant: VariantRecord, announce: Emit) -> VariantRecord:
    """Export a variant to ONNX and check that the file computes what the checkpoint does.

    Raises:
        ParityError: It does not.
        StepError: The export failed.
    """
    settings = experiment.config.export
    checkpoint = _checkpoint(experiment, variant)
    request = ExportRequest(
        checkpoint=str(checkpoint),
        imgsz=experiment.config.image.hw,
        opset=settings.opset,
        images=experiment.images[: settings.parity_images],
        box_tolerance_px=settings.box_tolerance_px,
        score_tolerance=settings.score_tolerance,
    )
    inputs = {
        "checkpoint": sha256_of(checkpoint),
        "images": _images_digest(experiment, len(request.images)),
    }
    run = _run(experiment, "export", request, inputs, _named(announce, variant.name), threads=1)
    exported = Exported.model_validate(run.result)
    onnx = _placed(experiment, variant.name, run, exported.onnx, "model.onnx")
    record = variant.model_copy(update={"exported": exported.model_copy(update={"onnx": onnx})})
    save_variant(experiment.run_folder, record)
    return record


def evaluate_variant(
    experiment: Experiment, variant: VariantRecord, announce: Emit
) -> VariantRecord:
    """Measure the accuracy of a variant's ONNX file.

    Raises:
        StepError: The variant has no ONNX file, or the evaluation failed.
    """
    if variant.exported is None:
        raise StepError("accuracy", "there is no ONNX file", variant=variant.name)
    settings = experiment.config.accuracy
    onnx = variant.exported.onnx
    request = AccuracyRequest(
        onnx=str(experiment.run_folder / onnx.path),
        images=experiment.images,
        names=experiment.class_names,
        imgsz=experiment.config.image.hw,
        confidence=settings.confidence,
        iou=settings.iou,
        max_det=settings.max_det,
    )
    emit = _named(announce, variant.name)
    inputs = {"onnx": onnx.sha256, "images": _images_digest(experiment, len(request.images))}
    run = _run(experiment, "accuracy", request, inputs, emit, threads=1)
    accuracy = Accuracy.model_validate(run.result)
    detections = _placed(experiment, variant.name, run, accuracy.detections, "detections.npz")
    accuracy = accuracy.model_copy(update={"detections": detections})
    record = variant.model_copy(update={"accuracy": accuracy})
    save_variant(experiment.run_folder, record)
    text = f"mAP50 {accuracy.map50:.3f}"
    if accuracy.mask_map50 is not None:
        text = f"box {text}, mask mAP50 {accuracy.mask_map50:.3f}"
    emit({"kind": "finished", "text": f"{text} on {accuracy.images} images"})
    return record


def _baseline(
    experiment: Experiment, planned: PlannedVariant, emit: Emit
) -> tuple[FileRef, Structure, TrainingSummary | None]:
    """The given checkpoint, or one trained from the network the configuration names."""
    if experiment.checkpoint is not None and experiment.structure is not None:
        target = _variant_file(experiment, planned.name, "model.pt")
        place(Path(experiment.checkpoint), target)
        return FileRef.of(target, experiment.run_folder), experiment.structure, None
    config = experiment.config
    request = BaselineRequest(
        model=config.model,
        data_yaml=experiment.data_yaml,
        epochs=config.baseline.epochs,
        imgsz=config.baseline.imgsz,
        batch=config.baseline.batch,
        seed=config.seed,
        lr0=config.baseline.lr0,
        optimizer=config.baseline.optimizer,
        threads=experiment.threads,
        image_hw=config.image.hw,
    )
    run = _run(experiment, "baseline", request, {"data_yaml": experiment.data_digest}, emit)
    checkpoint, training = _trained(experiment, planned.name, run)
    return checkpoint, Structure.model_validate(run.result["structure"]), training


def _prune_request(
    experiment: Experiment, planned: PlannedVariant, parent: VariantRecord
) -> PruneRequest:
    settings = experiment.config.prune
    if planned.goal is None:
        raise StepError("prune", "it has no target", variant=planned.name)
    round_to = kernel_block() if settings.round_to == "auto" else settings.round_to
    return PruneRequest(
        checkpoint=str(_checkpoint(experiment, parent)),
        data_yaml=experiment.data_yaml,
        ratio=planned.goal.value,
        round_to=round_to,
        importance=settings.importance,
        bn_batches=settings.bn_batches,
        ignore=settings.ignore,
        seed=experiment.config.seed,
        imgsz=experiment.config.image.hw,
    )


def _train_request(
    experiment: Experiment,
    planned: PlannedVariant,
    parent: VariantRecord,
    teacher: VariantRecord,
    strategy: str,
) -> TrainRequest:
    settings = experiment.config.retrain
    return TrainRequest(
        strategy=strategy,
        settings=settings.strategies[strategy],
        checkpoint=str(_checkpoint(experiment, parent)),
        data_yaml=experiment.data_yaml,
        round=planned.round,
        epochs=settings.epochs,
        imgsz=settings.imgsz,
        batch=settings.batch,
        workers=settings.workers,
        threads=experiment.threads,
        seed=experiment.config.seed,
        patience=settings.patience,
        max_minutes=settings.max_minutes,
        image_hw=experiment.config.image.hw,
        teacher=str(_checkpoint(experiment, teacher)),
    )


def _run(
    experiment: Experiment,
    step: str,
    request: Record,
    inputs: Mapping[str, str],
    emit: Emit,
    *,
    threads: int | None = None,
) -> StepRun:
    emit({"kind": "stage", "text": step})
    return run_step(
        experiment.steps_root,
        step,
        request,
        inputs,
        threads=threads or experiment.threads,
        on_event=emit,
    )


def _trained(experiment: Experiment, variant: str, run: StepRun) -> tuple[FileRef, TrainingSummary]:
    """Checkpoint and summary of a training, its files placed in the variant's folder."""
    checkpoint = FileRef.model_validate(run.result["checkpoint"])
    training = TrainingSummary.model_validate(run.result["training"])
    if training.curves is not None:
        curves = _placed(experiment, variant, run, training.curves, "curves.csv")
        training = training.model_copy(update={"curves": curves})
    return _placed(experiment, variant, run, checkpoint, "model.pt"), training


def _placed(
    experiment: Experiment, variant: str, run: StepRun, source: FileRef, name: str
) -> FileRef:
    """Put a step's file into a variant's folder and describe it relative to the run."""
    target = _variant_file(experiment, variant, name)
    place(Path(run.folder) / source.path, target)
    path = target.relative_to(experiment.run_folder).as_posix()
    return FileRef(path=path, sha256=source.sha256, bytes=source.bytes)


def _variant_file(experiment: Experiment, variant: str, name: str) -> Path:
    return experiment.run_folder / "variants" / variant / name


def _checkpoint(experiment: Experiment, variant: VariantRecord) -> Path:
    if variant.checkpoint is None:
        raise StepError("make", "its parent has no checkpoint", variant=variant.name)
    return experiment.run_folder / variant.checkpoint.path


def _images_digest(experiment: Experiment, count: int) -> str:
    """Digest of the first ``count`` evaluation images: their order follows from the dataset."""
    return f"{experiment.data_digest}:{experiment.split}:{count}"


def _named(announce: Emit, variant: str) -> Emit:
    """An emitter that says which variant its events belong to."""

    def emit(event: Event) -> None:
        announce({"variant": variant, **event})

    return emit
