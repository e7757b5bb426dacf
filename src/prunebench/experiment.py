"""An experiment's steps as plain functions: what a run does, without any orchestrator.

``prepare`` checks every input before work starts; then each function takes records and returns a
record. The flows call the same functions, one task each.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path

from prunebench.audit import Request as InspectRequest
from prunebench.audit import judge
from prunebench.accuracy import Request as AccuracyRequest
from prunebench.child import Emit, Event, run_child
from prunebench.config import Config
from prunebench.data.dataset import (
    check_dataset,
    dataset_digest,
    images_of,
    resolve_dataset,
)
from prunebench.errors import CheckpointError, ConfigError
from prunebench.export import Request as ExportRequest
from prunebench.files import check_output_folder, place
from prunebench.latency.fingerprint import kernel_block, usable_cores
from prunebench.plan import NETWORK_SUFFIXES, PlannedVariant
from prunebench.pruning.step import Request as PruneRequest
from prunebench.records import (
    Accuracy,
    Audit,
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
from prunebench.runs import DATA_FOLDER, STEPS_FOLDER, open_run, save_variant
from prunebench.steps import StepRun, run_step
from prunebench.versions import check_versions


class Experiment(Record):
    """A configuration whose inputs were found, checked and digested.

    Attributes:
        config: The configuration.
        out: Absolute path of the output folder.
        folder: Absolute path of the run's folder below it.
        checkpoint: Absolute path of the given checkpoint, ``None`` where a baseline is trained.
        checkpoint_sha256: Digest of that file.
        structure: Structure of that checkpoint.
        data_yaml: Absolute path of the dataset's YAML.
        data_digest: Digest of the dataset's images and labels.
        class_names: Class index to name.
        split: Split the accuracy images come from.
        images: Absolute paths of those images, in order.
    """

    config: Config
    out: str
    folder: str
    checkpoint: str | None
    checkpoint_sha256: str | None
    structure: Structure | None
    data_yaml: str
    data_digest: str
    class_names: dict[int, str]
    split: str
    images: tuple[str, ...]

    @property
    def run_folder(self) -> Path:
        """The run's folder."""
        return Path(self.folder)

    @property
    def steps_root(self) -> Path:
        """Folder of the cached steps, shared by every run of the output folder."""
        return Path(self.out) / STEPS_FOLDER

    @property
    def threads(self) -> int:
        """Threads of a training, export or evaluation."""
        return self.config.retrain.threads or usable_cores()


def prepare(config: Config) -> Experiment:
    """Check everything a run needs and open its folder. Nothing is left behind on bad input.

    Raises:
        InputError: Of the kind that says what is wrong: a library version, the checkpoint, the
            dataset, the output folder.
    """
    check_versions()
    out = Path(config.out).expanduser().resolve()
    checkpoint = _checkpoint_path(config.model)
    check_output_folder(out)
    dataset = resolve_dataset(config.data, cache_dir=out / DATA_FOLDER)
    sha256 = None if checkpoint is None else sha256_of(checkpoint)
    structure = None
    if checkpoint is not None and sha256 is not None:
        structure = _inspect(checkpoint, sha256, config.image.hw)
    check_dataset(dataset, class_names=None if structure is None else structure.names)
    split = config.accuracy.split
    if split == "auto":
        split = "test" if dataset.test else "val"
    return Experiment(
        config=config,
        out=str(out),
        folder=str(open_run(config, out)),
        checkpoint=None if checkpoint is None else str(checkpoint),
        checkpoint_sha256=sha256,
        structure=structure,
        data_yaml=str(dataset.yaml),
        data_digest=dataset_digest(dataset),
        class_names=dict(dataset.names),
        split=split,
        images=tuple(str(p) for p in images_of(dataset, split, limit=config.accuracy.images)),
    )


def _checkpoint_path(model: str) -> Path | None:
    """The given checkpoint, or ``None`` where ``model`` is a network that is trained first."""
    if model.endswith(NETWORK_SUFFIXES):
        return None
    path = Path(model).expanduser()
    if path.suffix != ".pt":
        raise ConfigError(
            f"the model {model} is neither a checkpoint (.pt) nor a network (.yaml)",
            where="model",
            fix="give a trained Ultralytics checkpoint such as best.pt",
        )
    if not path.is_file():
        raise CheckpointError(
            "the checkpoint does not exist", where=path, fix="check the path of `model`"
        )
    return path.resolve()


@functools.lru_cache(maxsize=8)
def _inspect(checkpoint: Path, sha256: str, hw: tuple[int, int]) -> Structure:
    """Structure of a checkpoint, read in a child because reading one imports torch."""
    with tempfile.TemporaryDirectory() as folder:
        request = InspectRequest(checkpoint=str(checkpoint), imgsz=hw)
        result = run_child("inspect", request, Path(folder), threads=usable_cores())
    return Structure.model_validate(result)


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
    training = None
    if parent is None:
        checkpoint, structure, left_alone = _baseline(experiment, planned, emit)
    elif planned.strategy is None:
        run = _run(experiment, "prune", _prune_request(experiment, parent), parent, emit)
        checkpoint = _placed(experiment, planned.name, run, "checkpoint", "model.pt")
        structure = Structure.model_validate(run.result["structure"])
        left_alone = dict(run.result["left_alone"])
    else:
        request = _train_request(experiment, planned, parent)
        run = _run(experiment, "train", request, parent, emit)
        checkpoint = _placed(experiment, planned.name, run, "checkpoint", "model.pt")
        structure = Structure.model_validate(run.result["structure"])
        left_alone = {}
        training = TrainingSummary.model_validate(run.result["training"])
        if training.curves is not None:
            curves = _place_ref(experiment, planned.name, run, training.curves, "curves.csv")
            training = training.model_copy(update={"curves": curves})
    audit = judge(
        structure,
        parent=None if parent is None or parent.audit is None else parent.audit.structure,
        baseline=None if baseline is None or baseline.audit is None else baseline.audit.structure,
        parent_verdict=None if parent is None or parent.audit is None else parent.audit.verdict,
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
    emit({"kind": "finished", "text": f"{audit.verdict}: {audit.why}"})
    return record


def export_variant(
    experiment: Experiment, variant: VariantRecord, announce: Emit
) -> VariantRecord:
    """Export a variant to ONNX and check that the file computes what the checkpoint does.

    Raises:
        ParityError: It does not.
        StepError: The export failed.
    """
    settings = experiment.config.export
    images = experiment.images[: settings.parity_images]
    request = ExportRequest(
        checkpoint=str(_path(experiment, variant.checkpoint)),
        imgsz=experiment.config.image.hw,
        opset=settings.opset,
        images=images,
        box_tolerance_px=settings.box_tolerance_px,
        score_tolerance=settings.score_tolerance,
    )
    inputs = {"images": experiment.data_digest}
    run = _run(experiment, "export", request, variant, _named(announce, variant.name), inputs)
    exported = Exported.model_validate(run.result)
    onnx = _place_ref(experiment, variant.name, run, exported.onnx, "model.onnx")
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
    settings = experiment.config.accuracy
    onnx = _onnx(variant)
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
    inputs = {"onnx": onnx.sha256, "images": experiment.data_digest}
    run = run_step(
        experiment.steps_root,
        "accuracy",
        request,
        inputs,
        threads=experiment.threads,
        on_event=emit,
    )
    accuracy = Accuracy.model_validate(run.result)
    detections = _place_ref(
        experiment, variant.name, run, accuracy.detections, "detections.npz"
    )
    record = variant.model_copy(
        update={"accuracy": accuracy.model_copy(update={"detections": detections})}
    )
    save_variant(experiment.run_folder, record)
    emit({"kind": "finished", "text": f"mAP50 {accuracy.map50:.3f} on {accuracy.images} images"})
    return record
