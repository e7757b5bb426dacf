"""Pairs of variants, compared in every metric; ``ties`` decides which differences are shown."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from prunebench.common.records import Interval
from prunebench.common.statistics import (
    FEWEST_ROUNDS,
    Array,
    Footing,
    Location,
    add,
    of_draws,
    over_trainings,
)
from prunebench.results.ranking.measured import MeasuredVariant
from prunebench.results.ranking.records import Metric

SMALLEST_MAP50 = 1e-3
"""A lower mAP50 counts as this in a relative comparison, where 0 would have no logarithm."""

FLOOR = 0.05
"""mAP50 of a baseline below which it finds nothing that a loss could be told by."""

FEWEST_IMAGES = 20
"""Images below which nothing is said about a difference in accuracy."""


@dataclass(frozen=True)
class Raw:
    """A comparison before its correction, ``a`` against ``b``; positive where ``a`` is better.

    Attributes:
        location: Log ratio, or mAP50 for accuracy; ``None`` where too few rounds are shared.
        p: 1 where it cannot be told.
        same_network: Both run the same operations.
        rounds: Rounds that both were measured in, 0 for accuracy.
        has_ratio: Whether the estimate means something as a ratio.
    """

    metric: Metric
    a: str
    b: str
    location: Location | None
    p: float
    same_network: bool
    rounds: int = 0
    has_ratio: bool = True

    @property
    def estimate(self) -> float:
        """NaN where it cannot be told."""
        return math.nan if self.location is None else self.location.centre

    def swapped(self) -> Raw:
        """The same, ``b`` against ``a``."""
        location = None if self.location is None else -self.location
        return replace(self, a=self.b, b=self.a, location=location)


Raws = Mapping[tuple[Metric, str, str], Raw]
"""Comparisons by metric and pair, in both orders."""


class Footings(NamedTuple):
    """Whole frames and model-only inferences of all variants at one thread count."""

    speed: Footing[str]
    latency: Footing[str]


def on_one_footing(measured: Sequence[MeasuredVariant], threads: int) -> Footings:
    """The footings that every row and every comparison comes from."""
    return Footings(
        Footing({v.name: v.end_to_end_ms[threads] for v in measured}),
        Footing({v.name: v.latency_ms[threads] for v in measured}),
    )


def compare_all(measured: Sequence[MeasuredVariant], footings: Footings) -> list[Raw]:
    """Compare every pair in every metric, each pair in one order.

    Every variant has at least ``FEWEST_ROUNDS`` rounds.
    """
    raws: list[Raw] = []
    for a, b in itertools.combinations(measured, 2):
        speed = _by_rounds("speed", a, b, footings.speed)
        latency = _by_rounds("latency", a, b, footings.latency)
        raws += [speed, latency, _accuracy(a, b), _efficiency(a, b, speed)]
    return raws


def in_both_orders(raws: Sequence[Raw]) -> Raws:
    """The comparisons to be looked up by metric and pair."""
    both = (*raws, *(raw.swapped() for raw in raws))
    return {(raw.metric, raw.a, raw.b): raw for raw in both}


def _by_rounds(
    metric: Metric, a: MeasuredVariant, b: MeasuredVariant, footing: Footing[str]
) -> Raw:
    same, rounds = a.is_same_network(b), footing.shared(a.name, b.name)
    if rounds < FEWEST_ROUNDS:
        return Raw(metric, a.name, b.name, None, 1.0, same, rounds)
    found = footing.ratio(b.name, a.name)
    return Raw(metric, a.name, b.name, found, found.p_value(), same, rounds)


def _accuracy(a: MeasuredVariant, b: MeasuredVariant) -> Raw:
    images = of_draws(a.map50 - b.map50, a.map50_draws - b.map50_draws, a.images)
    found = over_trainings(images, a.trainings, b.trainings)
    p = found.p_value() if a.images >= FEWEST_IMAGES else 1.0
    return Raw("accuracy", a.name, b.name, found, p, a.is_same_network(b))


def _efficiency(a: MeasuredVariant, b: MeasuredVariant, speed: Raw) -> Raw:
    """Relative difference of mAP50 x FPS / MB.

    Between variants of one network the speed difference is known to be none, so a difference is
    shown only where accuracy and size alone show it as well, in the same direction.
    """
    accuracy = _relative_map(a, b)
    size = math.log(b.size_mb / a.size_mb)
    without_speed = replace(accuracy, centre=accuracy.centre + size)
    if speed.location is None:
        return replace(speed, metric="efficiency")
    both, p = add(without_speed, speed.location), 1.0
    ratios = has_ratio(a), has_ratio(b)
    if a.images >= FEWEST_IMAGES and any(ratios):
        p = both.p_value()
        if speed.same_network:
            agree = both.centre * without_speed.centre > 0
            p = max(p, without_speed.p_value()) if agree else 1.0
    return replace(speed, metric="efficiency", location=both, p=p, has_ratio=all(ratios))


def has_ratio(variant: MeasuredVariant) -> bool:
    """Whether a variant's mAP50 is more than 0 beyond doubt, so that ratios with it mean something.

    Of its resamples less than one in forty may be next to 0: the lower end of a 95 % interval.
    """
    return float(np.nanquantile(variant.map50_draws, 0.025)) > SMALLEST_MAP50


def map50_of(variant: MeasuredVariant) -> Location:
    """A variant's mAP50, over images and, where it has several, trainings."""
    found = of_draws(variant.map50, variant.map50_draws, variant.images)
    return over_trainings(found, variant.trainings)


def shown_map50(location: Location, level: float) -> Interval:
    """The interval of an mAP50, which is within 0..1."""
    found = location.interval(level)
    ends = max(found.low, 0.0), min(found.high, 1.0)
    return Interval(estimate=found.estimate, low=ends[0], high=ends[1], level=level)


def log_map50(variant: MeasuredVariant) -> Location:
    """Logarithm of a variant's mAP50."""
    logs = _logs(variant)
    found = of_draws(float(logs[0]), logs[1:], variant.images)
    return over_trainings(found, variant.trainings, unit=_unit(variant))


def _relative_map(a: MeasuredVariant, b: MeasuredVariant) -> Location:
    """Log ratio of two mAP50."""
    logs = _logs(a) - _logs(b)
    found = of_draws(float(logs[0]), logs[1:], a.images)
    for variant in (a, b):
        found = over_trainings(found, variant.trainings, unit=_unit(variant))
    return found


def _unit(variant: MeasuredVariant) -> float:
    """What an absolute error is divided by to be one of the logarithm."""
    return max(variant.map50, SMALLEST_MAP50)


def _logs(variant: MeasuredVariant) -> Array:
    """Of its mAP50, then of its draws."""
    found: Array = np.log(np.maximum(np.append(variant.map50, variant.map50_draws), SMALLEST_MAP50))
    return found


def display_interval(raw: Raw, level: float) -> Interval:
    """Interval of a comparison that can be told, in percent, or in mAP50 for accuracy."""
    if raw.location is None:
        raise ValueError(f"{raw.a} and {raw.b} share too few rounds")
    return (
        raw.location.interval(level) if raw.metric == "accuracy" else _percent(raw.location, level)
    )


def relative_accuracy(a: MeasuredVariant, b: MeasuredVariant, level: float) -> Interval:
    """Change of mAP50 from ``b`` to ``a`` in percent of ``b``'s."""
    return _percent(_relative_map(a, b), level)


def _percent(log_ratio: Location, level: float) -> Interval:
    found = log_ratio.ratio(level)
    estimate, low, high = (100 * (end - 1) for end in (found.estimate, found.low, found.high))
    return Interval(estimate=estimate, low=low, high=high, level=level)
