"""Whether a network still is what it was: its structure compared with its parent's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from prunebench.common.records import (
    Audit,
    Grounds,
    LeftAlone,
    Quantization,
    Record,
    Rewriting,
    Structure,
    Verdict,
)
from prunebench.config.exporting import ExportHead
from prunebench.config.sections import MOST_PIXELS
from prunebench.measuring.heads import HEADS
from prunebench.measuring.onnx_graph import integer_modules
from prunebench.variants.opening import Opened, open_network
from prunebench.variants.provenance import (
    Provenance,
    read_head,
    read_provenance,
    read_quantization,
    read_rewriting,
)
from prunebench.variants.stock_catalogue import recognise
from prunebench.variants.structure import load_onnx, structure_of, structure_of_onnx

if TYPE_CHECKING:
    from prunebench.variants.checkpoint import CheckpointInfo

_LEFT_ALONE: TypeAdapter[dict[str, LeftAlone]] = TypeAdapter(dict[str, LeftAlone])


class OnnxFinding(Record):
    """What an exported file says of itself; ``None`` where it does not.

    Of ``layers`` convolutions ``integer_layers`` are on 8-bit integers, none in a float file.
    """

    provenance: Provenance | None
    quantization: Quantization | None
    rewriting: Rewriting | None
    head: ExportHead | None
    layers: int
    integer_layers: int


class AuditFinding(Record):
    """What ``prunebench audit`` says of a file or a number.

    Attributes:
        stock: The stock network it is, if any.
        audit: ``None`` for a bare number, and where nothing says what a file was made from.
        structure: The counts of a file that has no audit.
        two_heads: Whether it is a checkpoint with a head that needs an NMS and one that does not.
        onnx: What only an exported file has.
    """

    subject: str
    stock: str | None
    audit: Audit | None = None
    structure: Structure | None = None
    two_heads: bool = False
    onnx: OnnxFinding | None = None

    @property
    def counted(self) -> Structure | None:
        """The counts of a file, ``None`` for a bare number."""
        return self.structure if self.audit is None else self.audit.structure


def judge(
    structure: Structure,
    *,
    parent: Audit | None,
    baseline: Audit | None,
    left_alone: Mapping[str, LeftAlone] | None = None,
) -> Audit:
    """Compare a network with the one it was made from.

    ``parent`` is ``None`` for a network that was given, ``baseline``, the unpruned network at the
    root, where that is this one; ``left_alone`` are modules pruning left alone, with reasons.
    """
    root = baseline or parent
    unpruned = structure if root is None else root.structure
    verdict, grounds = _verdict(structure, parent, baseline)
    return Audit(
        structure=structure,
        verdict=verdict,
        grounds=grounds,
        kept_share=structure.parameters / unpruned.parameters,
        left_alone=dict(left_alone or {}),
    )


def judge_sibling(parent: Audit) -> Audit:
    """The audit of an INT8 file that was made from an exported one."""
    audit = judge(parent.structure, parent=parent, baseline=None)
    return audit.model_copy(update={"kept_share": parent.kept_share})


def audit(subject: str | PathLike[str] | int) -> AuditFinding:
    """Say what a checkpoint, an ONNX file or a bare number of parameters is.

    Raises:
        CheckpointError: The file cannot be used.
    """
    return audit_number(subject) if isinstance(subject, int) else audit_file(Path(subject))


def audit_number(parameters: int) -> AuditFinding:
    """Say which stock network has this many parameters."""
    return AuditFinding(subject=f"{parameters:,}", stock=recognise(parameters))


def audit_file(path: Path) -> AuditFinding:
    """Say what a checkpoint, compared with its own description, or an ONNX file is.

    Raises:
        CheckpointError: The file cannot be used.
    """
    if path.suffix == ".onnx":
        return _audit_onnx(path)
    opened = open_network(str(path))
    audit = audit_opened(opened)
    return AuditFinding(
        subject=str(path),
        stock=audit.structure.stock,
        audit=audit,
        two_heads=opened.info.two_heads,
    )


def _verdict(
    structure: Structure, parent: Audit | None, baseline: Audit | None
) -> tuple[Verdict, Grounds]:
    classes = len(structure.names)
    if parent is None:
        if structure.stock is None:
            return "altered", Grounds(kind="unknown", classes=classes)
        return "unpruned", Grounds(kind="stock", classes=classes)
    before = parent.structure
    known = Grounds(
        kind="same_widths",
        classes=classes,
        narrower=_narrower(structure.widths, before.widths),
        heads=sum(structure.heads.values()),
        parent_heads=sum(before.heads.values()),
        parent_classes=len(before.names),
        parent_parameters=before.parameters,
    )
    if structure.names != before.names:
        return "altered", known.model_copy(update={"kind": "other_classes"})
    if structure.widths == before.widths:
        return ("preserved" if parent.verdict == "pruned" else parent.verdict), known
    if known.narrower:
        return "pruned", known.model_copy(update={"kind": "narrower"})
    back = baseline is not None and structure.widths == baseline.structure.widths
    if back or (structure.stock is not None and _narrower(before.widths, structure.widths)):
        if baseline is not None and structure.parameters > baseline.structure.parameters:
            given = {"kind": "wider_than_given", "given_parameters": baseline.structure.parameters}
            return "restored", known.model_copy(update=given)
        return "restored", known.model_copy(update={"kind": "widths_back"})
    return "altered", known.model_copy(update={"kind": "other_layers"})


def _narrower(widths: Mapping[str, int], others: Mapping[str, int]) -> int:
    """How many layers are narrower than the others', 0 where any is wider or they do not match."""
    if widths.keys() != others.keys() or any(widths[name] > others[name] for name in widths):
        return 0
    return sum(widths[name] < others[name] for name in widths)


def _audit_onnx(path: Path) -> AuditFinding:
    model = load_onnx(path)
    structure, provenance = structure_of_onnx(model, path), read_provenance(model, path)
    quantization = read_quantization(model, path)
    audit = None
    if provenance is not None:
        audit = provenance.audit(structure)
        if quantization is not None:
            audit = judge_sibling(audit)
    elif structure.stock is not None:
        audit = judge(structure, parent=None, baseline=None)
    return AuditFinding(
        subject=str(path),
        stock=structure.stock if audit is None else audit.structure.stock,
        audit=audit,
        structure=structure if audit is None else None,
        onnx=OnnxFinding(
            provenance=provenance,
            quantization=quantization,
            rewriting=read_rewriting(model, path),
            head=read_head(model),
            layers=len(structure.widths),
            integer_layers=len(integer_modules(model)),
        ),
    )


def audit_opened(opened: Opened, imgsz: tuple[int, int] | None = None) -> Audit:
    """Say what a network that was given is, compared with what its own description builds.

    MACs are counted at ``imgsz``, (height, width) in pixels; ``None``: at its own size.
    """
    hw = imgsz or _own_size(opened.info)
    structure = structure_of(opened.network, hw)
    if structure.stock is not None:
        return judge(structure, parent=None, baseline=None)
    stock = judge(structure_of(opened.described, hw), parent=None, baseline=None)
    try:
        alone = _LEFT_ALONE.validate_python(opened.info.provenance.get("left_alone", {}))
    except ValidationError:  # anybody can write such an entry
        alone = {}
    return judge(structure, parent=stock, baseline=stock, left_alone=alone)


def _own_size(info: CheckpointInfo) -> tuple[int, int]:
    """(height, width) a checkpoint was pruned for or trained at, else Ultralytics' default."""
    match info.provenance.get("imgsz"):
        case (int(height), int(width)) if 0 < height <= MOST_PIXELS and 0 < width <= MOST_PIXELS:
            deployed = height, width
        case _:
            deployed = (info.imgsz or HEADS[info.task].default_side,) * 2
    height, width = (math.ceil(side / info.stride) * info.stride for side in deployed)
    return height, width
