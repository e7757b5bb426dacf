"""What a ranking starts from: the raw figures of one variant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from prunebench.common.records import Grounds, InRuntime, Interval, Overlap, Parity, Verdict
from prunebench.common.statistics import FEWEST_ROUNDS, Array, Location, Rounds, locate
from prunebench.config.sections import Beside, Control
from prunebench.results.ranking.records import Shown


@dataclass(frozen=True)
class ClassFigures:
    """AP50 of one class, by its id and not by its ``name``, which another may have too.

    ``objects`` are labelled, in an effective number of ``images``; ``draws`` and ``trainings`` as
    those of ``MeasuredVariant``.
    """

    name: str
    objects: int
    images: float
    ap50: float
    draws: Array
    trainings: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MeasuredVariant:
    """One variant, measured.

    Attributes:
        parent: Variant it was made from, ``None`` for the unpruned baseline.
        strategy: Retraining strategy of its last step, or ``None``.
        parameters: With BatchNorm apart, where known.
        verdict: Of the audit, where there is one, with its grounds.
        network: Identity of the compute graph: variants with the same value run the same
            operations, whatever their weights. ``None`` where unknown.
        size_mb: Size of the deployed file in 10^6 bytes.
        map50: mAP50 of ``RankingConfig.metric``, 0..1.
        map50_draws: Its bootstrap over images, shape (resamples,); every variant with the same
            resamples (``map_bootstrap.image_weights``).
        images: Images behind it.
        trainings: Its mAP50 with every seed, where it was trained more than once: ``map50`` is
            their mean, and ``map50_draws`` are of that mean.
        latency_ms: Thread count to model-only milliseconds by round.
        end_to_end_ms: Thread count to milliseconds of a whole frame by round.
        cpu_ms: Thread count to CPU milliseconds, of all threads, of a model-only inference by
            round; empty where unknown.
        rss_mb: Thread count to the peak resident memory of its process by round, in 10^6 bytes.
        realtime: Thread count to the verdict of the paced measurement.
        few_frames: Thread count to paced frames, where they are too few for a verdict.
        failure: Why its latency could not be measured, where it could not.
        control: Which control it is, ``None`` where it is none.
        beside: In what alone it differs from another variant of its round, and that one's name.
        epochs: Most epochs that the network was trained for since the baseline.
        quantized: Whether it is its parent's file in INT8.
        both: mAP50 of boxes and of masks, as ``compare.map50_of``; empty for a detection model.
        classes: Every labelled class by its id.
    """

    name: str
    parent: str | None
    strategy: str | None = None
    parameters: int | None = None
    verdict: Verdict | None = None
    grounds: Grounds | None = None
    network: str | None = None
    size_mb: float
    map50: float
    map50_draws: Array
    images: int
    trainings: tuple[float, ...] = ()
    latency_ms: Mapping[int, Rounds]
    end_to_end_ms: Mapping[int, Rounds]
    cpu_ms: Mapping[int, Rounds] = field(default_factory=dict)
    rss_mb: Mapping[int, Rounds] = field(default_factory=dict)
    realtime: Mapping[int, Shown] = field(default_factory=dict)
    few_frames: Mapping[int, int] = field(default_factory=dict)
    failure: str | None = None
    control: Control | None = None
    beside: Beside | None = None
    epochs: int = 0
    quantized: bool = False
    both: Mapping[Overlap, Location] = field(default_factory=dict)
    classes: Mapping[int, ClassFigures] = field(default_factory=dict)

    def rounds(self, threads: int) -> int:
        """Rounds it was measured in, both alone and in whole frames."""
        by_kind = (self.end_to_end_ms, self.latency_ms)
        return min(len(rounds.get(threads, {})) for rounds in by_kind)

    def peak_mb(self, threads: int, level: float) -> Interval | None:
        """Peak resident memory of its process; ``None`` where too few rounds know it."""
        rounds = self.rss_mb.get(threads, {})
        if len(rounds) < FEWEST_ROUNDS:
            return None
        return locate(np.log(list(rounds.values()))).ratio(level)

    def is_same_network(self, other: MeasuredVariant) -> bool:
        """Whether both run the same operations, so that speed cannot tell them apart."""
        return self.network is not None and self.network == other.network


@dataclass(frozen=True, kw_only=True)
class MeasuredElsewhere:
    """A variant in another runtime, ``measured`` as the file of its parent is in onnxruntime.

    ``cpu_share`` is the CPU time of an inference by its wall time, by thread count.
    """

    measured: MeasuredVariant
    runtime: InRuntime
    parity: Parity
    cpu_share: Mapping[int, float]
