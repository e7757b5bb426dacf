"""What an exported file says of its making: entries of its metadata, which Ultralytics keeps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from pydantic import Field, ValidationError

from prunebench.common.errors import CheckpointError
from prunebench.common.records import (
    Audit,
    Grounds,
    Quantization,
    Record,
    Rewriting,
    Structure,
    Verdict,
)
from prunebench.common.variant_record import VariantRecord
from prunebench.config.exporting import ExportHead

if TYPE_CHECKING:
    import onnx

PROVENANCE_KEY = "prunebench"
INT8_KEY = "prunebench_int8"
REWRITING_KEY = "prunebench_rewriting"
HEAD_KEY = "prunebench_head"

ACTIVATION = {"activations", "replaced_activation"}
"""What of a structure its exported graph does not say."""

R = TypeVar("R", bound=Record)


class Provenance(Record):
    """What an exported file is, as the audit of its checkpoint found, and what it was made from.

    Attributes:
        parameters: With BatchNorm apart, ``baseline_parameters`` those of the unpruned network;
            ``parameters_fused`` what an export keeps of them.
        macs: Of one image at (height, width) ``imgsz``, the letterbox it is deployed with;
            ``baseline_macs`` those of the unpruned network at ``baseline_imgsz``.
        stock: The stock network it is, if any.
        activations: Layers by the class of torch.nn that activates them, and what was replaced.
        strategy: How it was trained last, ``None`` where it was not.
        round: Of that training: 0 before pruning, 1 for the first retraining.
    """

    verdict: Verdict
    grounds: Grounds
    kept_share: float
    stock: str | None
    parameters: int
    parameters_fused: int
    macs: int
    imgsz: tuple[int, int]
    baseline_parameters: int
    baseline_macs: int
    baseline_imgsz: tuple[int, int]
    activations: dict[str, int] = Field(default_factory=dict)
    replaced_activation: str | None = None
    strategy: str | None = None
    round: int | None = None

    @classmethod
    def of(cls, variant: VariantRecord, baseline: VariantRecord) -> Self | None:
        """That of a variant made from ``baseline``; ``None`` where one of them has no audit."""
        if variant.audit is None or baseline.audit is None:
            return None
        own, root, training = variant.audit.structure, baseline.audit.structure, variant.training
        return cls(
            **variant.audit.model_dump(include={"verdict", "grounds", "kept_share"}),
            stock=own.stock,
            **own.model_dump(include=ACTIVATION),
            parameters=own.parameters,
            parameters_fused=own.parameters_fused,
            macs=own.macs,
            imgsz=own.macs_imgsz,
            baseline_parameters=root.parameters,
            baseline_macs=root.macs,
            baseline_imgsz=root.macs_imgsz,
            strategy=None if training is None else training.strategy,
            round=None if training is None else training.round,
        )

    def audit(self, structure: Structure) -> Audit:
        """The audit of the file as it is now, whose structure was counted anew."""
        # Not of those with BatchNorm apart: what only training runs is in no file.
        if structure.parameters_fused != self.parameters_fused:
            grounds = Grounds(
                kind="changed_since",
                classes=len(structure.names),
                parent_parameters=self.parameters_fused,
            )
            share = structure.parameters / self.baseline_parameters
            return Audit(structure=structure, verdict="altered", grounds=grounds, kept_share=share)
        told = {"stock", "parameters", *ACTIVATION}
        known = structure.model_copy(update=self.model_dump(include=told))
        found = {name: getattr(self, name) for name in ("verdict", "grounds", "kept_share")}
        return Audit(structure=known, **found)


def read_provenance(model: onnx.ModelProto, path: Path) -> Provenance | None:
    """What made a file, ``None`` where it does not say; CheckpointError where it is unreadable."""
    return _entry(model, PROVENANCE_KEY, Provenance, path)


def read_quantization(model: onnx.ModelProto, path: Path) -> Quantization | None:
    """How a file was quantized, as ``read_provenance``."""
    return _entry(model, INT8_KEY, Quantization, path)


def read_rewriting(model: onnx.ModelProto, path: Path) -> Rewriting | None:
    """How its graph was rewritten, as ``read_provenance``."""
    return _entry(model, REWRITING_KEY, Rewriting, path)


def read_head(model: onnx.ModelProto) -> ExportHead | None:
    """Which of a network's two heads a file has; ``None`` where it does not say.

    Ultralytics says of its own files only whether it is the one that needs no NMS.
    """
    said = {entry.key: entry.value for entry in model.metadata_props}
    if said.get("end2end") == "True":
        return "one_to_one"
    return "one_to_many" if HEAD_KEY in said else None


def _entry(model: onnx.ModelProto, key: str, kind: type[R], path: Path) -> R | None:
    text = next((entry.value for entry in model.metadata_props if entry.key == key), None)
    if text is None:
        return None
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise CheckpointError(
            f"its metadata {key} cannot be read, or was written by another version",
            where=path,
            fix="export it again",
        ) from error
