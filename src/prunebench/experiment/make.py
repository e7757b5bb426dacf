"""The steps that make, export and evaluate one variant; each takes records and returns one."""

from __future__ import annotations

from pathlib import Path

from prunebench.common.errors import StepError
from prunebench.common.files import place
from prunebench.common.records import (
    Accuracy,
    Exported,
    FileRef,
    LeftAlone,
    Structure,
    TrainingSummary,
    sha256_of,
)
from prunebench.common.variant_record import Judgement, Reached, VariantRecord
from prunebench.experiment.alternatives import at_letterbox, smaller_stock
from prunebench.experiment.controls import other_head
from prunebench.experiment.inputs import Experiment
from prunebench.experiment.plan import PlannedVariant
from prunebench.experiment.prune import preserving_settings, prune
from prunebench.experiment.run_step import (
    checkpoint_of,
    images_digest,
    keep,
    placed,
    run_cached,
    trained_files,
    trained_stock,
    training_request,
    variant_file,
)
from prunebench.measuring.accuracy import Request as AccuracyRequest
from prunebench.measuring.heads import HEADS
from prunebench.measuring.heads.detect import Detect
from prunebench.measuring.session import SessionSettings
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_judgement, tell_variant
from prunebench.results.run_folder import read_variant, save_variant, title_of
from prunebench.steps.events import Emit, Finished, Stage, of_variant
from prunebench.variants.audit import judge
from prunebench.variants.export import Request as ExportRequest
from prunebench.variants.provenance import Provenance
from prunebench.variants.pruning.widths import FILE as WIDTHS_FILE


def make_variant(
    experiment: Experiment,
    planned: PlannedVariant,
    parent: VariantRecord | None,
    baseline: VariantRecord | None,
    announce: Emit,
    judgement: Judgement | None = None,
) -> VariantRecord:
    """Make a variant's checkpoint from its parent's (``None``: of the baseline) and audit it.

    It is not trained where ``judgement``, of the rounds before it, stops the chain. InputError
    where the step found bad input, StepError where it failed.
    """
    emit = of_variant(announce, title_of(planned))
    if judgement is not None:
        emit(Stage(what=tell_judgement(judgement, Messages())))
        if judgement.stops:
            return keep(experiment, planned, judgement=judgement)
    left_alone: dict[str, LeftAlone] = {}
    training, reached, budget = None, None, None
    judged_by = parent
    if parent is None:
        checkpoint, structure, training = _baseline(experiment, planned, emit)
    elif planned.imgsz is not None or planned.is_plain or planned.has_other_head:
        checkpoint, structure = at_letterbox(experiment, planned, parent, emit)
    elif planned.control == "smaller" and baseline is not None:
        # A stock network of its own: nothing of the pruned one is in it.
        judged_by = None
        checkpoint, structure, training, budget = smaller_stock(
            experiment, planned, parent, baseline, emit
        )
    else:
        inputs = {"data_yaml": experiment.data_digest}
        if parent.checkpoint is not None:
            inputs["checkpoint"] = parent.checkpoint.sha256
        if planned.strategy is None:
            run = prune(
                experiment,
                planned,
                checkpoint_of(experiment, parent),
                inputs,
                lambda step, request, given: run_cached(experiment, step, request, given, emit),
            )
            reached = Reached.model_validate(run.result["reached"])
            source = FileRef.model_validate(run.result["checkpoint"])
            checkpoint = placed(experiment, planned, run, source, "model.pt")
            widths = FileRef.model_validate(run.result["widths"])
            placed(experiment, planned, run, widths, WIDTHS_FILE)
            left_alone = dict(run.result["left_alone"])
        else:
            teacher = checkpoint_of(experiment, baseline or parent)
            inputs["teacher"] = sha256_of(teacher)
            config, threads = experiment.config, experiment.retraining_threads
            # The control `retrained` is by `preserving`, whatever the strategies are.
            strategy, activation = config.retrain.chains.get(planned.strategy, ("preserving", None))
            request = training_request(
                experiment,
                strategy,
                config.retrain.strategies.get(strategy) or preserving_settings(config),
                activation=activation,
                checkpoint=str(checkpoint_of(experiment, parent)),
                teacher=str(teacher),
                round=planned.round,
                epochs=config.retrain.epochs if planned.round else config.prune.training_epochs,
                threads=threads,
                seed=config.seed if planned.seed is None else planned.seed,
            )
            run = run_cached(experiment, "train", request, inputs, emit, threads=threads)
            checkpoint, training = trained_files(experiment, planned, run)
        structure = Structure.model_validate(run.result["structure"])
    audit = judge(
        structure,
        parent=None if judged_by is None else judged_by.audit,
        baseline=None if baseline is None else baseline.audit,
        left_alone=left_alone,
    )
    if parent is None and experiment.audit is not None:
        audit = experiment.audit
    record = keep(
        experiment,
        planned,
        imgsz=planned.imgsz,
        plain=planned.is_plain,
        other_head=planned.has_other_head,
        checkpoint=checkpoint,
        audit=audit,
        training=training,
        reached=reached,
        budget=budget,
        judgement=judgement,
    )
    emit(Finished(step="make", found=f"{audit.verdict}, {tell_variant(record, Messages())}"))
    return record


def export_variant(experiment: Experiment, variant: VariantRecord, announce: Emit) -> VariantRecord:
    """Export a variant that was trained to ONNX; ParityError where the file computes otherwise."""
    if variant.not_trained is not None:
        return variant
    settings, latency = experiment.config.export, experiment.config.latency
    checkpoint = checkpoint_of(experiment, variant)
    task = Detect.task if variant.audit is None else variant.audit.structure.task
    asked = HEADS[task].thresholds
    own = variant.parent is None
    baseline = variant if own else read_variant(experiment.run_folder, "baseline")
    request = ExportRequest(
        checkpoint=str(checkpoint),
        imgsz=variant.imgsz or experiment.config.image.hw,
        opset=settings.opset,
        passes=() if variant.plain else experiment.applied_passes,
        head=other_head(settings.head) if variant.other_head else settings.head,
        images=experiment.images[: settings.parity_images],
        box_tolerance_px=settings.box_tolerance_px,
        score_tolerance=settings.score_tolerance,
        session=SessionSettings.of(latency),
        thresholds={n: v for n, v in latency.thresholds.items() if n in asked},
        provenance=Provenance.of(variant, baseline),
    )
    images = images_digest(experiment, len(request.images))
    inputs = {"checkpoint": sha256_of(checkpoint), "images": images}
    emit = of_variant(announce, title_of(variant))
    run = run_cached(experiment, "export", request, inputs, emit, threads=1)
    exported = Exported.model_validate(run.result)
    onnx = placed(experiment, variant, run, exported.onnx, "model.onnx")
    record = variant.model_copy(update={"exported": exported.model_copy(update={"onnx": onnx})})
    save_variant(experiment.run_folder, record)
    return record


def evaluate_variant(
    experiment: Experiment, variant: VariantRecord, announce: Emit
) -> VariantRecord:
    """Measure the accuracy of a variant's ONNX file, if it was trained; StepError if it fails."""
    if variant.not_trained is not None:
        return variant
    if variant.exported is None:
        raise StepError("accuracy", "there is no ONNX file", variant=variant.name)
    request = accuracy_request(experiment, variant.exported, experiment.run_folder)
    emit = of_variant(announce, title_of(variant))
    images = images_digest(experiment, len(request.images))
    inputs = {"onnx": variant.exported.onnx.sha256, "images": images}
    run = run_cached(experiment, "accuracy", request, inputs, emit, threads=1)
    accuracy = Accuracy.model_validate(run.result)
    detections = placed(experiment, variant, run, accuracy.detections, "detections.npz")
    accuracy = accuracy.model_copy(update={"detections": detections})
    record = variant.model_copy(update={"accuracy": accuracy})
    save_variant(experiment.run_folder, record)
    emit(Finished(step="accuracy", found=accuracy.in_words))
    return record


def accuracy_request(
    experiment: Experiment, exported: Exported, run_folder: Path
) -> AccuracyRequest:
    """What the step ``accuracy`` is asked for an exported file, which lies below ``run_folder``."""
    return AccuracyRequest(
        onnx=str(run_folder / exported.onnx.path),
        images=experiment.images,
        names=experiment.class_names,
        imgsz=exported.imgsz,
        session=SessionSettings.of(experiment.config.latency),
        sigmas=experiment.dataset.sigmas,
        **experiment.config.accuracy.model_dump(include={"confidence", "iou", "max_det"}),
    )


def _baseline(
    experiment: Experiment, planned: PlannedVariant, emit: Emit
) -> tuple[FileRef, Structure, TrainingSummary | None]:
    """The given checkpoint, or one trained from the network the configuration names."""
    if experiment.checkpoint is not None and experiment.structure is not None:
        target = variant_file(experiment, planned, "model.pt")
        place(Path(experiment.checkpoint), target)
        return FileRef.of(target, experiment.run_folder), experiment.structure, None
    config = experiment.config
    budget = config.baseline.model_dump(include={"epochs", "imgsz", "batch"})
    return trained_stock(experiment, planned, config.model, emit, **budget)
