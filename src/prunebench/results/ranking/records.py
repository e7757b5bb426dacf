"""The frozen records of a ranking: facts, which ``results.messages.sentences`` puts into words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from prunebench.common.plain import METRIC_NAMES
from prunebench.common.records import InRuntime, Interval, Overlap, Parity, Record, Verdict
from prunebench.common.variant_record import Judgement
from prunebench.config.sections import Control
from prunebench.results.ranking.doubts import Doubt
from prunebench.results.ranking.frame import as_json, frame_of

if TYPE_CHECKING:
    import pandas as pd

Shown = Literal["yes", "no", "not shown"]
"""Whether a claim is shown to hold, shown not to hold, or neither."""

Pareto = Literal["certain", "possible", "no"]
Metric = Literal["speed", "latency", "accuracy", "efficiency"]
Use = Literal["real-time", "balance", "accuracy"]
Part = Literal["letterbox", "retraining", "pruning", "undivided", "qat", "activation", "int8"]
"""What changed an accuracy; ``undivided``: pruning and retraining, which are not told apart."""

OF_THE_RANKING = ("threads", "metric", "level", "realtime_fps", "smallest_difference_percent")
LIMIT = "max_rss_mb"
TOLD = ("advice", "warnings")
"""Fields of a ranking that every row of its table has; the limit may be none, those that are told
are JSON.
"""

NOT_TRAINED = "not trained"


class Difference(Record):
    """Two variants compared in one metric.

    Attributes:
        metric: ``speed`` (end-to-end FPS), ``latency`` (model only), ``accuracy`` (mAP50) or
            ``efficiency``.
        first: The variant with the better estimate.
        interval: How much better it is: percent, or mAP50 (0..1) for accuracy. ``None`` where
            too few rounds are shared, and of efficiencies of which one may be 0.
        p: Two-sided p-value of the single comparison.
        p_corrected: After Holm's correction over the metric's comparisons.
        significant: Whether the difference is shown; else the two are tied.
        same_network: Both run the same operations: a difference in speed is then never shown.
        rounds: Rounds both were measured in, 0 for accuracy.
        settles_percent: Difference that ``more_rounds`` further rounds would find, both ``None``
            where it is significant or no sensible number would do.
    """

    metric: Metric
    first: str
    second: str
    interval: Interval | None
    p: float
    p_corrected: float
    significant: bool
    same_network: bool
    rounds: int
    settles_percent: float | None = None
    more_rounds: int | None = None

    def other(self, name: str) -> str:
        """The one that is not ``name``."""
        return self.second if self.first == name else self.first

    def seen_from(self, name: str) -> Interval | None:
        """How much better ``name`` is, negative where it is worse; ``None`` where unknown."""
        measured = self.interval
        if measured is None or self.first == name:
            return measured
        ends = (measured.estimate, measured.high, measured.low)
        if self.metric == "accuracy":
            estimate, low, high = (-value for value in ends)
        else:
            # A ratio: what is faster by 25 % leaves the other slower by 20 %.
            estimate, low, high = (100 * (1 / (1 + value / 100) - 1) for value in ends)
        return Interval(estimate=estimate, low=low, high=high, level=measured.level)


class RelativeChange(Record):
    """A relative change, and whether it is shown to be one.

    ``percent`` is ``None`` where an mAP50 may be 0, which nothing is a percentage of.
    """

    percent: Interval | None
    shown: bool


class Effect(Record):
    """What a retraining did, against a variant it came from.

    Attributes:
        kind: ``strategy`` against the pruned network it started from, ``round`` against the
            round before.
        parameters_percent: Change of the parameter count, where both are known.
        accuracy: Change of mAP50.
        speed: Change of end-to-end FPS; 100 + its percent is the speed retention.
    """

    kind: Literal["strategy", "round"]
    strategy: str
    variant: str
    reference: str
    parameters_percent: float | None
    accuracy: RelativeChange
    speed: RelativeChange
    efficiency: RelativeChange


class ClassChange(Record):
    """A change of one class's AP50 (0..1) that is shown, corrected for all classes of all variants.

    Attributes:
        id: Of the class; its ``name`` has the id in it where another class is called alike.
        objects: Labelled objects of it.
        over_limit: Whether the loss is shown to be over ``max_class_loss``.
    """

    id: int
    name: str
    objects: int
    before: float
    after: float
    change: Interval
    over_limit: bool = False


class RankedVariant(Record):
    """One row of the ranking.

    Attributes:
        rank: 1 + the number of variants shown to be more efficient.
        label: The rank as printed, with ``=`` where it is shared.
        parameters: With BatchNorm apart.
        verdict: Of the audit.
        size_mb: Size of the deployed file in 10^6 bytes.
        map50: Of the ranking's metric, 0..1.
        latency_ms: Model-only milliseconds, of all variants on one footing, as ``fps``.
        cpu_ms: CPU milliseconds, of all threads, of the same inferences; ``None`` where unknown.
        fps: End-to-end frames per second.
        efficiency: mAP50 x FPS / MB.
        realtime: Whether it keeps the real-time limit.
        rss_mb: Peak resident memory of the process that measured it; ``None`` where unknown.
        keeps_memory: Whether that stays within ``max_rss_mb``; ``None`` without a limit.
        keeps_accuracy: Whether it loses at most the allowed mAP50, and is not shown to lose more
            than allowed in a class; ``None`` without a limit or a baseline.
        judged_against: The variant that says so of the mAP50: the baseline, or for a retrained one
            the unpruned network retrained alike, where it loses more against that.
        confounded: Whether it was retrained and no unpruned network was retrained alike.
        pareto: Member of the Pareto front of mAP50 and FPS.
        tied_with: Variants it cannot be told apart from in efficiency.
        less_efficient_than: Variants shown to be more efficient.
        rounds: Rounds its latency rests on.
        trainings: Trainings whose mean its mAP50 is; the rest is of the one file that is shipped.
        control: Which control it is, ``None`` where it is none.
        int8: Whether its file computes in INT8.
        times_baseline: Its end-to-end FPS by the baseline's, paired by round; ``None`` for the
            baseline itself, without one, or where the two share too few rounds.
        map50_change: Its mAP50 less the baseline's, on the same images; ``None`` as before.
        box_map50: mAP50 of the boxes of a model that predicts more, as ``mask_map50`` of its masks
            or ``pose_map50`` of its keypoints; ``None`` for others.
        classes_against: The unpruned variant its classes are compared with, ``None`` for that one.
        class_changes: Classes that it is shown to have changed in, the largest loss first.
    """

    rank: int
    label: str
    name: str
    parameters: int | None
    verdict: Verdict | None
    size_mb: float
    map50: Interval
    latency_ms: Interval
    fps: Interval
    efficiency: Interval
    map50_per_fps: float
    realtime: Shown
    keeps_accuracy: Shown | None
    pareto: Pareto
    tied_with: tuple[str, ...]
    rounds: int
    trainings: int = 1
    cpu_ms: Interval | None = None
    rss_mb: Interval | None = None
    keeps_memory: Shown | None = None
    control: Control | None = None
    judged_against: str | None = None
    confounded: bool = False
    less_efficient_than: tuple[str, ...] = ()
    int8: bool = False
    times_baseline: Interval | None = None
    map50_change: Interval | None = None
    box_map50: Interval | None = None
    mask_map50: Interval | None = None
    pose_map50: Interval | None = None
    classes_against: str | None = None
    class_changes: tuple[ClassChange, ...] = ()

    @property
    def class_losses(self) -> tuple[ClassChange, ...]:
        """Classes that it is shown to have lost in, the largest loss first."""
        return tuple(change for change in self.class_changes if change.change.estimate < 0)

    def shown_map50(self, metric: Overlap) -> dict[str, Interval]:
        """What a table shows by column, ranked by ``metric``: one, or each of two overlaps."""
        both = {"box": self.box_map50, "mask": self.mask_map50, "pose": self.pose_map50}
        found = {f"{name} mAP50": map50 for name, map50 in both.items() if map50 is not None}
        return found or {METRIC_NAMES[metric]: self.map50}

    def estimate(self, metric: Metric) -> float:
        """The point estimate in a metric, higher is better."""
        return {
            "accuracy": self.map50.estimate,
            "speed": self.fps.estimate,
            "latency": -self.latency_ms.estimate,
            "efficiency": self.efficiency.estimate,
        }[metric]


class Change(Record):
    """A part of what changed a variant's accuracy: ``after`` against ``before``, in mAP50."""

    part: Part
    before: str
    after: str
    gain: Interval
    shown: bool


class Changes(Record):
    """What changed a variant's accuracy, in order; each part goes on where the last one ended."""

    variant: str
    parts: tuple[Change, ...]


class AgainstControl(Record):
    """A pruned variant that has shown nothing over a control, which costs no pruning.

    It is ``beaten`` where the control is shown to be more accurate, and shown to be faster or the
    same network; else ``level``: neither its speed nor its accuracy is shown to be better.
    """

    control: str
    variant: str
    verdict: Literal["beaten", "level"]


class Elsewhere(Record):
    """A variant's file in another runtime: a control, no part of the ranks.

    Attributes:
        of: The variant whose weights these are, in onnxruntime.
        runtime: What runs them, and in which precision.
        parity: Its raw predictions against those of onnxruntime.
        size_mb: Size of the runtime's own file in 10^6 bytes.
        fps: End-to-end frames per second, as ``latency_ms`` on one footing with every variant.
        times_own: Its FPS by those of ``of``, paired by round.
        times_baseline: By those of the baseline; ``None`` without one.
        map50_change: Its mAP50 less that of ``of``, on the same images.
        faster_than: Ranked variants it is shown to be faster than, corrected for the comparisons of
            every runtime with every variant; ``slower_than``, ``more_accurate_than`` and
            ``less_accurate_than`` alike.
    """

    name: str
    of: str
    runtime: InRuntime
    parity: Parity
    int8: bool
    size_mb: float
    map50: Interval
    latency_ms: Interval
    fps: Interval
    times_own: Interval
    times_baseline: Interval | None
    map50_change: Interval
    rss_mb: Interval | None
    faster_than: tuple[str, ...]
    slower_than: tuple[str, ...]
    more_accurate_than: tuple[str, ...]
    less_accurate_than: tuple[str, ...]


class FailedVariant(Record):
    """A variant that could not be ranked, and why."""

    name: str
    step: str
    reason: str


class NotTrained(Record):
    """A variant that was left out on purpose, and what decided so."""

    name: str
    judgement: Judgement


class Advice(Record):
    """What to ship for one use.

    Attributes:
        recommended: The variant to ship, ``None`` where none is shown to do.
        tied: Variants that cannot be told apart from it for this use.
        leader: The candidate with the best estimate in the metric that decides, where that is
            another one: the recommended one is tied with it and better in the second metric.
            Where none is recommended, who would be without those that are ``confounded``.
        confounded: Retrained variants that are not shown to be less accurate, and that no winner
            is made of because no unpruned network was retrained alike.
    """

    use: Use
    recommended: str | None
    tied: tuple[str, ...]
    leader: str | None = None
    confounded: tuple[str, ...] = ()


class Ranking(Record):
    """Variants ranked for one thread count.

    Attributes:
        threads: ``intra_op_num_threads`` of every figure.
        realtime_fps: The real-time limit.
        max_rss_mb: The limit of the memory in 10^6 bytes, ``None`` where any will do.
        level: Confidence level of every interval and of each metric's family of comparisons.
        smallest_difference_percent: Smallest difference that matters.
        rows: Ranked variants, best first.
        differences: Every pair, in every metric.
        not_trained: Variants that were left out because a round before showed no gain.
        changes: What changed the accuracy of each variant.
        metric: What the mAP50 that ranks is taken of.
        elsewhere: Leading variants in other runtimes; ``failures_elsewhere`` those that failed, or
            that are not compared.
    """

    threads: int
    realtime_fps: float
    level: float
    smallest_difference_percent: float
    rows: tuple[RankedVariant, ...]
    failures: tuple[FailedVariant, ...]
    differences: tuple[Difference, ...]
    effects: tuple[Effect, ...]
    advice: tuple[Advice, ...]
    warnings: tuple[Doubt, ...]
    not_trained: tuple[NotTrained, ...] = ()
    against_controls: tuple[AgainstControl, ...] = ()
    changes: tuple[Changes, ...] = ()
    metric: Overlap = "box"
    max_rss_mb: float | None = None
    elsewhere: tuple[Elsewhere, ...] = ()
    failures_elsewhere: tuple[FailedVariant, ...] = ()

    @property
    def beside_boxes(self) -> Literal["mask", "pose"] | None:
        """What the ranked models predict beside boxes, ``None`` where it is nothing."""
        if any(row.mask_map50 is not None for row in self.rows):
            return "mask"
        return "pose" if any(row.pose_map50 is not None for row in self.rows) else None

    def to_frame(self) -> pd.DataFrame:
        """The variants as a table, a row each; ``prunebench rank`` reads it.

        Failed variants and those not trained follow the ranked ones, with the reason in
        ``failure`` and without figures. An interval is three columns, as ``fps``, ``fps_low`` and
        ``fps_high``; what predicts more than boxes has the mAP50 of both. What to
        ship and what to doubt are JSON.
        """
        failures = {one.name: f"{one.step}: {one.reason}" for one in self.failures}
        for one in self.not_trained:
            failures[one.name] = f"{NOT_TRAINED}: no gain in round {one.judgement.round}"
        of_all = {name: getattr(self, name) for name in (*OF_THE_RANKING, LIMIT)}
        of_all |= {name: as_json(getattr(self, name)) for name in TOLD}
        return frame_of(RankedVariant, self.rows, failures, of_all)

    def row(self, name: str) -> RankedVariant:
        """The row of a variant.

        Raises:
            KeyError: It was not ranked.
        """
        return {row.name: row for row in self.rows}[name]

    def difference(self, metric: Metric, a: str, b: str) -> Difference:
        """The comparison of two variants, in either order.

        Raises:
            KeyError: They were not compared.
        """
        for found in self.differences:
            if found.metric == metric and {found.first, found.second} == {a, b}:
                return found
        raise KeyError((metric, a, b))
