"""Everything known of one variant, and why it may not have been made."""

from __future__ import annotations

from typing import Literal

from prunebench.common.records import (
    Accuracy,
    Audit,
    Exported,
    FileRef,
    InRuntime,
    Interval,
    Overlap,
    Quantization,
    Record,
    TrainingSummary,
    VariantName,
)


class Failure(Record):
    """Why a variant has no figures: the step that failed and its reason."""

    step: str
    reason: str


class Judgement(Record):
    """Whether a chain of retrainings goes on after a round.

    ``finding``: whether a ``gain`` in mAP50 (0..1, of ``metric``) is shown (``no_gain``: the rounds
    after it are left out), or why that cannot be judged: it is an ``other_network`` than the round
    before, or there are ``few_images``, fewer than ``needed``. For the control ``retrained``:
    ``chains_ended``, every chain beside it.
    """

    round: int
    finding: Literal["gain", "no_gain", "other_network", "few_images", "chains_ended"]
    gain: Interval | None = None
    metric: Overlap = "box"
    images: int | None = None
    needed: int | None = None

    @property
    def stops(self) -> bool:
        """Whether the rounds after it are left out."""
        return self.finding in ("no_gain", "chains_ended")


class Reached(Record):
    """What pruning to a target came to.

    ``goal`` is the target as configured, ``None`` for a plain ratio; parameters are with BatchNorm
    apart, MACs of one image; measured speed (by the baseline's) and model-only milliseconds are
    ``None`` where the target is a count. ``met``: it is not only the nearest these widths reach;
    ``unsure``: what the target names lies in there, too wide to tell whether it is met; ``there``:
    the device it was measured on, where not here; ``throttled``: the CPU was, meanwhile.
    """

    goal: str | None
    parameters: int
    macs: int
    speedup: float | None = None
    latency_ms: float | None = None
    met: bool = True
    unsure: Interval | None = None
    there: str | None = None
    throttled: bool = False


class StockBudget(Record):
    """What a smaller stock network stands beside (the variant ``pruned``) and was trained for.

    ``own_epochs`` are the baseline's, ``None`` where its checkpoint does not say them,
    ``retraining_epochs`` those of every round together.
    """

    pruned: str
    pruned_macs: int | None
    own_epochs: int | None
    retraining_epochs: int


class VariantRecord(Record):
    """Everything known of one variant but its latency and rank.

    Attributes:
        parent: Name of the variant it was made from, ``None`` for the baseline.
        steps: The chain of steps that made it, in order.
        seed: That of its training, where it is one of several ``trainings`` of a variant, whose own
            files are those of the seed ``shipped``.
        imgsz: (height, width) of a letterbox of its own in pixels, ``None``: the run's.
        plain: Whether it is exported without the run's rewriting.
        other_head: Whether it is exported with the head that the run's others are not.
        checkpoint: ``None`` of a quantized variant, which was made from an ONNX file.
        failure: Set when a step failed; later fields are then ``None``.
        budget: Set where it is a smaller stock network.
        judgement: What the rounds before it said, where that decides whether it is trained.
        runtime: Set where it is its parent's file in a runtime other than onnxruntime: ``exported``
            is then that runtime's, compared with its parent's.
    """

    name: VariantName
    parent: str | None
    steps: tuple[str, ...]
    seed: int | None = None
    trainings: tuple[VariantRecord, ...] = ()
    shipped: int | None = None
    imgsz: tuple[int, int] | None = None
    plain: bool = False
    other_head: bool = False
    checkpoint: FileRef | None = None
    audit: Audit | None = None
    training: TrainingSummary | None = None
    exported: Exported | None = None
    quantization: Quantization | None = None
    accuracy: Accuracy | None = None
    failure: Failure | None = None
    reached: Reached | None = None
    budget: StockBudget | None = None
    judgement: Judgement | None = None
    runtime: InRuntime | None = None

    @property
    def files(self) -> tuple[FileRef, ...]:
        """Its files, by their paths in the run's folder."""
        found = [self.checkpoint, *(ref for one in self.trainings for ref in one.files)]
        if self.exported is not None:
            found.append(self.exported.onnx)
        if self.accuracy is not None:
            found.append(self.accuracy.detections)
        if self.training is not None:
            found.append(self.training.curves)
        return tuple(ref for ref in found if ref is not None)

    @property
    def not_trained(self) -> Judgement | None:
        """What left it out on purpose; ``None`` where it was made or failed."""
        return self.judgement if self.judgement and self.judgement.stops else None
