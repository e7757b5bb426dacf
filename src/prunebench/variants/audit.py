"""Whether a network still is what it was: its structure compared with its parent's."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path

from prunebench.common.records import Audit, Grounds, LeftAlone, Record, Structure, Verdict
from prunebench.variants.stock_catalogue import recognise
from prunebench.variants.structure import rebuilt, structure_of, structure_of_onnx

DEFAULT_HW = (640, 640)
"""Input size MACs are counted at where nothing else is known: Ultralytics' default."""


class AuditFinding(Record):
    """What ``prunebench audit`` says of a file or a number.

    ``stock`` is the stock network it is, if any; ``audit`` is ``None`` for a bare number.
    """

    subject: str
    stock: str | None
    audit: Audit | None = None


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


def audit(subject: str | PathLike[str] | int) -> AuditFinding:
    """Say what a checkpoint, an ONNX file or a bare number of parameters is.

    Raises:
        CheckpointError: The file cannot be used.
    """
    return audit_number(subject) if isinstance(subject, int) else audit_file(Path(subject))


def audit_number(parameters: int) -> AuditFinding:
    """Say which stock network has this many parameters."""
    return AuditFinding(subject=f"{parameters:,}", stock=recognise(parameters))


def audit_file(path: Path, *, trust: bool = False) -> AuditFinding:
    """Say what a checkpoint, compared with its own description, or an ONNX file is.

    ``trust`` loads a checkpoint whatever it holds, which runs its code.

    Raises:
        CheckpointError: The file cannot be used.
    """
    if path.suffix == ".onnx":
        audit = judge(structure_of_onnx(path), parent=None, baseline=None)
    else:
        audit = _audit_checkpoint(path, trust)
    return AuditFinding(subject=str(path), stock=audit.structure.stock, audit=audit)


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
        return "restored", known.model_copy(update={"kind": "widths_back"})
    return "altered", known.model_copy(update={"kind": "other_layers"})


def _narrower(widths: Mapping[str, int], others: Mapping[str, int]) -> int:
    """How many layers are narrower than the others', 0 where any is wider or they do not match."""
    if widths.keys() != others.keys() or any(widths[name] > others[name] for name in widths):
        return 0
    return sum(widths[name] < others[name] for name in widths)


def _audit_checkpoint(path: Path, trust: bool) -> Audit:
    from prunebench.variants.checkpoint import inspect_checkpoint, load_checkpoint

    network = load_checkpoint(path, trust=trust)
    structure = structure_of(network, DEFAULT_HW)
    if structure.stock is not None:
        return judge(structure, parent=None, baseline=None)
    stock = judge(structure_of(rebuilt(network), DEFAULT_HW), parent=None, baseline=None)
    left_alone = inspect_checkpoint(path, trust=trust).provenance.get("left_alone")
    return judge(structure, parent=stock, baseline=stock, left_alone=left_alone)
