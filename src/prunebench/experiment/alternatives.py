"""The variants that are no pruned network: controls of the baseline, and INT8 siblings."""

from __future__ import annotations

from prunebench.common.errors import StepError
from prunebench.common.files import place
from prunebench.common.records import (
    Exported,
    FileRef,
    Quantization,
    Structure,
    TrainingSummary,
    sha256_of,
)
from prunebench.common.variant_record import StockBudget, VariantRecord
from prunebench.config.sections import QuantizeConfig
from prunebench.data.dataset import images_of
from prunebench.experiment.controls import smaller_network
from prunebench.experiment.inputs import Experiment
from prunebench.experiment.plan import PlannedVariant
from prunebench.experiment.run_step import (
    checkpoint_of,
    keep,
    placed,
    run_cached,
    trained_stock,
    variant_file,
)
from prunebench.experiment.there import integers_that_count
from prunebench.measuring.session import SessionSettings
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_variant
from prunebench.steps.events import Emit, Finished, of_variant
from prunebench.variants.audit import judge_sibling
from prunebench.variants.int8.step import Quantized
from prunebench.variants.int8.step import Request as QuantizeRequest
from prunebench.variants.stock_width import Request as SmallerRequest
from prunebench.variants.stock_width import Smaller
from prunebench.variants.structure import Request as InspectRequest


def at_letterbox(
    experiment: Experiment,
    planned: PlannedVariant,
    parent: VariantRecord,
    emit: Emit,
) -> tuple[FileRef, Structure]:
    """The parent's checkpoint, counted at the letterbox that is planned."""
    source = checkpoint_of(experiment, parent)
    target = variant_file(experiment, planned, "model.pt")
    place(source, target)
    checkpoint = FileRef.of(target, experiment.run_folder)
    request = InspectRequest(
        checkpoint=str(source), imgsz=planned.imgsz or experiment.config.image.hw
    )
    run = run_cached(experiment, "inspect", request, {"checkpoint": checkpoint.sha256}, emit)
    return checkpoint, Structure.model_validate(run.result)


def smaller_stock(
    experiment: Experiment,
    planned: PlannedVariant,
    pruned: VariantRecord,
    baseline: VariantRecord,
    emit: Emit,
) -> tuple[FileRef, Structure, TrainingSummary, StockBudget]:
    """A smaller stock network, trained for as long as baseline and retraining were together."""
    config = experiment.config
    stock = smaller_network(config.model, experiment.structure)
    target = None if pruned.audit is None else pruned.audit.structure.macs
    source = checkpoint_of(experiment, baseline)
    search = SmallerRequest(
        baseline=str(source),
        description=stock.description,
        macs=target if stock.narrowed else None,
        classes=len(experiment.class_names),
        imgsz=config.image.hw,
    )
    run = run_cached(experiment, "smaller", search, {"baseline": sha256_of(source)}, emit)
    chosen = Smaller.model_validate(run.result)
    retraining = config.retrain.rounds * config.retrain.epochs
    epochs = (chosen.epochs or 0) + retraining
    if epochs == 0:
        reason = "the checkpoint does not say its epochs and nothing is retrained: it has no budget"
        raise StepError("make", reason, variant=planned.name)
    checkpoint, structure, training = trained_stock(
        experiment,
        planned,
        stock.description,
        emit,
        epochs=epochs,
        imgsz=config.retrain.imgsz,
        batch=experiment.batch,
        width=chosen.width,
    )
    budget = StockBudget(
        pruned=pruned.name,
        pruned_macs=target,
        own_epochs=chosen.epochs,
        retraining_epochs=retraining,
    )
    return checkpoint, structure, training, budget


def quantize_variant(
    experiment: Experiment, planned: PlannedVariant, parent: VariantRecord, announce: Emit
) -> VariantRecord:
    """Make the INT8 sibling of an exported variant; one that was not trained has none.

    Which layers stay in float is chosen on validation images, so that figures from a test split
    rest on images that chose nothing. StepError where too much mAP50 is lost.
    """
    if parent.not_trained is not None:
        return keep(experiment, planned, judgement=parent.judgement)
    if parent.exported is None or parent.audit is None:
        raise StepError("quantize", "there is no ONNX file", variant=parent.name)
    exported = parent.exported
    request, inputs = quantize_request(experiment, exported)
    emit = of_variant(announce, planned.name)
    run = run_cached(experiment, "quantize", request, inputs, emit)
    quantized = Quantized.model_validate(run.result)
    onnx = placed(experiment, planned, run, quantized.onnx, "model.onnx")
    record = keep(
        experiment,
        planned,
        imgsz=planned.imgsz,
        audit=judge_sibling(parent.audit),
        exported=exported.model_copy(
            update={
                "onnx": onnx,
                "parity": None,
                "rewriting": exported.rewriting and exported.rewriting.on_integers,
            }
        ),
        quantization=Quantization(**quantized.model_dump(exclude={"onnx"})),
    )
    words = Messages(metric=experiment.config.ranking.metric)
    emit(Finished(step="make", found=tell_variant(record, words)))
    return record


def quantize_request(
    experiment: Experiment, exported: Exported
) -> tuple[QuantizeRequest, dict[str, str]]:
    """What the step ``quantize`` is asked for an exported file, and digests of its images."""
    config = experiment.config
    settings = config.quantize or QuantizeConfig()
    calibration = images_of(experiment.dataset, "train", limit=settings.calibration_images)
    images = images_of(experiment.dataset, "val", limit=config.accuracy.images)
    request = QuantizeRequest(
        onnx=str(experiment.run_folder / exported.onnx.path),
        calibration=tuple(map(str, calibration)),
        images=tuple(map(str, images)),
        names=experiment.class_names,
        imgsz=exported.imgsz,
        max_map50_loss=settings.max_map50_loss,
        session=SessionSettings.of(config.latency),
        sigmas=experiment.dataset.sigmas,
        **dict(integers_that_count(experiment)),
        **config.accuracy.model_dump(include={"confidence", "iou", "max_det"}),
    )
    return request, {
        "onnx": exported.onnx.sha256,
        "calibration": f"{experiment.data_digest}:train:{len(calibration)}",
        "images": f"{experiment.data_digest}:val:{len(images)}",
    }
