"""The control ``runtime``: leading variants in other runtimes than onnxruntime.

Those are the baseline and of every target the most accurate network that kept its pruning, as far
as is known before latency is measured: networks of one target are about equally fast. Where one
has an INT8 file of unsigned activations, OpenVINO, which reads it, runs that too. NNCF quantizes
the float file with the images and to the loss that our own INT8 files are made with.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prunebench.common.errors import PrunebenchError, StepError
from prunebench.common.files import place, write_atomically
from prunebench.common.records import Accuracy, FileRef, Record, Runtime
from prunebench.common.variant_record import Failure, VariantRecord
from prunebench.experiment.alternatives import quantize_request
from prunebench.experiment.inputs import Experiment
from prunebench.experiment.make import accuracy_request
from prunebench.experiment.run_step import images_digest, run_cached
from prunebench.measuring.session import SessionSettings
from prunebench.results.run_folder import RUNTIMES_FOLDER, VARIANT_FILE
from prunebench.steps.cache import StepRun
from prunebench.steps.ended import was_ended
from prunebench.steps.events import Emit, Finished, of_variant
from prunebench.variants.conversion import Converted, Judged
from prunebench.variants.conversion import Request as ConversionRequest

READS_INTEGERS, BY_NNCF = "openvino", "openvino-nncf"


def run_elsewhere(
    experiment: Experiment, variants: Sequence[VariantRecord], announce: Emit
) -> tuple[VariantRecord, ...]:
    """Convert and evaluate the leading variants for every runtime that is asked for.

    Each is kept in the run's folder, one that fails or computes otherwise with the reason.
    """
    return tuple(
        _in_runtime(experiment, variant, runtime, announce)
        for variant in leading(experiment, variants)
        for runtime in experiment.runtimes
        if variant.quantization is None or runtime.name == READS_INTEGERS
    )


def leading(experiment: Experiment, variants: Sequence[VariantRecord]) -> list[VariantRecord]:
    """The variants that run elsewhere, and their INT8 siblings that can."""
    known = {v.name: v for v in variants if v.failure is None and v.accuracy and v.exported}
    chosen = [v for v in known.values() if v.parent is None]
    for goal in experiment.config.prune.goals:
        kept = [
            known[plan.name]
            for plan in experiment.variants
            if plan.goal == goal and plan.control is None and not plan.quantized
            if plan.name in known and _kept_pruning(known[plan.name])
        ]
        chosen += sorted(kept, key=lambda v: -_map50(experiment, v))[:1]
    names = {variant.name for variant in chosen}
    return [*chosen, *(v for v in known.values() if v.parent in names and _readable(v))]


def _kept_pruning(variant: VariantRecord) -> bool:
    return variant.audit is not None and variant.audit.verdict in ("pruned", "preserved")


def _readable(variant: VariantRecord) -> bool:
    # OpenVINO rounds signed activations to whole numbers where it joins them.
    return variant.quantization is not None and variant.quantization.activations == "u8"


def _map50(experiment: Experiment, variant: VariantRecord) -> float:
    found = variant.accuracy
    return 0.0 if found is None else found.by_overlap.get(experiment.config.ranking.metric, 0.0)


def _in_runtime(
    experiment: Experiment, variant: VariantRecord, runtime: Runtime, announce: Emit
) -> VariantRecord:
    record = VariantRecord(
        name=f"{variant.name}-{runtime.name}",
        parent=variant.name,
        steps=(*variant.steps, f"run in {runtime.name}"),
        audit=variant.audit,
        quantization=variant.quantization,
    )
    try:
        record = _made(experiment, variant, record, runtime, of_variant(announce, record.name))
    except PrunebenchError as error:
        if was_ended():
            raise
        step, reason = getattr(error, "step", "convert"), getattr(error, "reason", str(error))
        record = record.model_copy(update={"failure": Failure(step=step, reason=reason)})
    folder = experiment.run_folder / RUNTIMES_FOLDER / record.name
    write_atomically(folder / VARIANT_FILE, record.model_dump_json(indent=2))
    return record


def _made(
    experiment: Experiment,
    variant: VariantRecord,
    record: VariantRecord,
    runtime: Runtime,
    emit: Emit,
) -> VariantRecord:
    config, exported = experiment.config, variant.exported
    if exported is None:
        raise StepError("convert", "there is no ONNX file", variant=variant.name)
    settings = config.export
    request = ConversionRequest(
        onnx=str(experiment.run_folder / exported.onnx.path),
        runtime=runtime,
        imgsz=exported.imgsz,
        classes=len(experiment.class_names),
        images=experiment.images[: settings.parity_images],
        box_tolerance_px=settings.box_tolerance_px,
        score_tolerance=settings.score_tolerance,
        integers=variant.quantization is not None,
        session=SessionSettings.of(config.latency),
    )
    images = images_digest(experiment, len(request.images))
    inputs = {"onnx": exported.onnx.sha256, "images": images}
    if runtime.name == BY_NNCF:
        ours, digests = quantize_request(experiment, exported)
        judged = Judged(**ours.model_dump(include={*Judged.model_fields}))
        theirs = {"calibration": ours.calibration, "validation": ours.images, "judged": judged}
        request = request.model_copy(update=theirs)
        inputs |= {"calibration": digests["calibration"], "validation": digests["images"]}
    run = run_cached(experiment, "convert", request, inputs, emit, threads=1)
    found = Converted.model_validate(run.result)
    onnx = _placed(experiment, record, run, found.onnx)
    own = exported.model_copy(update={"onnx": onnx, "parity": found.parity})
    known: dict[str, Record] = {"exported": own, "runtime": found.runtime}
    if found.quantization is not None:
        known["quantization"] = found.quantization
    record = record.model_copy(update=known)
    if not found.parity.kept:
        reason = f"it differs from {variant.name} in onnxruntime {found.parity.in_words}"
        return record.model_copy(update={"failure": Failure(step="parity", reason=reason)})
    asked = accuracy_request(experiment, own, experiment.run_folder)
    asked = asked.model_copy(update={"runtime": found.runtime})
    inputs = {"onnx": onnx.sha256, "images": images_digest(experiment, len(asked.images))}
    run = run_cached(experiment, "accuracy", asked, inputs, emit, threads=1)
    accuracy = Accuracy.model_validate(run.result)
    detections = _placed(experiment, record, run, accuracy.detections)
    accuracy = accuracy.model_copy(update={"detections": detections})
    emit(Finished(step="accuracy", found=accuracy.in_words))
    return record.model_copy(update={"accuracy": accuracy})


def _placed(
    experiment: Experiment, record: VariantRecord, run: StepRun, source: FileRef
) -> FileRef:
    """A step's file in the folder of a variant in a runtime."""
    path = f"{RUNTIMES_FOLDER}/{record.name}/{source.path}"
    place(Path(run.folder) / source.path, experiment.run_folder / path)
    return source.model_copy(update={"path": path})
