"""Pairs of variants, compared in every metric; ``ties`` decides which differences are shown."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
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
    interval,
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
        estimate: Log ratio, or mAP50 for accuracy; NaN where too few rounds are shared.
        draws: Bootstrap draws of it, shape (resamples,).
        p: 1 where it cannot be told.
        same_network: Both run the same operations.
        location: Log ratios by round, for the metrics that have them.
        has_ratio: Whether the estimate means something as a ratio.
    """

    metric: Metric
    a: str
    b: str
    estimate: float
    draws: Array
    p: float
    same_network: bool
    location: Location | None = None
    has_ratio: bool = True

    def swapped(self) -> Raw:
        """The same, ``b`` against ``a``."""
        location = None if self.location is None else -self.location
        turned = replace(self, a=self.b, b=self.a, location=location)
        return replace(turned, estimate=-self.estimate, draws=-self.draws)


Raws = Mapping[tuple[Metric, str, str], Raw]
"""Comparisons by metric and pair, in both orders."""

Draw = Callable[[Location], Array]
"""Draws, shape (resamples,), that are spread as an estimate may be off."""


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


def compare_all(measured: Sequence[MeasuredVariant], footings: Footings, draw: Draw) -> list[Raw]:
    """Compare every pair in every metric, each pair in one order.

    Every variant has at least ``FEWEST_ROUNDS`` rounds.
    """
    raws: list[Raw] = []
    for a, b in itertools.combinations(measured, 2):
        speed = _by_rounds("speed", a, b, footings.speed, draw)
        latency = _by_rounds("latency", a, b, footings.latency, draw)
        raws += [speed, latency, _accuracy(a, b), _efficiency(a, b, speed)]
    return raws


def in_both_orders(raws: Sequence[Raw]) -> Raws:
    """The comparisons to be looked up by metric and pair."""
    both = (*raws, *(raw.swapped() for raw in raws))
    return {(raw.metric, raw.a, raw.b): raw for raw in both}


def _by_rounds(
    metric: Metric, a: MeasuredVariant, b: MeasuredVariant, footing: Footing[str], draw: Draw
) -> Raw:
    same = a.is_same_network(b)
    if footing.shared(a.name, b.name) < FEWEST_ROUNDS:
        unknown = np.full_like(a.map50_draws, math.nan)
        return Raw(metric, a.name, b.name, math.nan, unknown, 1.0, same)
    found = footing.ratio(b.name, a.name)
    return Raw(metric, a.name, b.name, found.centre, draw(found), found.p_value(), same, found)


def _accuracy(a: MeasuredVariant, b: MeasuredVariant) -> Raw:
    draws = a.map50_draws - b.map50_draws
    location = _of_draws(a.map50 - b.map50, draws, a.images)
    p = location.p_value() if a.images >= FEWEST_IMAGES else 1.0
    return Raw("accuracy", a.name, b.name, location.centre, draws, p, a.is_same_network(b))


def _of_draws(estimate: float, draws: Array, n: int) -> Location:
    return Location(estimate, float(np.nanstd(draws)), max(n - 1, 1), n)


def _efficiency(a: MeasuredVariant, b: MeasuredVariant, speed: Raw) -> Raw:
    """Relative difference of mAP50 x FPS / MB.

    Between variants of one network the speed difference is known to be none, so a difference is
    shown only where accuracy and size alone show it as well, in the same direction.
    """
    size = math.log(b.size_mb / a.size_mb)
    estimate, draws = _relative_map(a, b)
    estimate, draws = estimate + size, draws + size
    without_speed = _of_draws(estimate, draws, a.images)
    p = 1.0
    ratios = has_ratio(a), has_ratio(b)
    if speed.location is not None and a.images >= FEWEST_IMAGES and any(ratios):
        both = add(without_speed, speed.location)
        p = both.p_value()
        if speed.same_network:
            agree = both.centre * without_speed.centre > 0
            p = max(p, without_speed.p_value()) if agree else 1.0
    estimate, draws = estimate + speed.estimate, draws + speed.draws
    efficiency = replace(speed, metric="efficiency", estimate=estimate, draws=draws, p=p)
    return replace(efficiency, has_ratio=all(ratios))


def has_ratio(variant: MeasuredVariant) -> bool:
    """Whether a variant's mAP50 is more than 0 beyond doubt, so that ratios with it mean something.

    Of its resamples less than one in forty may be next to 0: the lower end of a 95 % interval.
    """
    return float(np.nanquantile(variant.map50_draws, 0.025)) > SMALLEST_MAP50


def _relative_map(a: MeasuredVariant, b: MeasuredVariant) -> tuple[float, Array]:
    """Log ratio of two mAP50, and its draws."""
    estimate = _log_map(np.array(a.map50)) - _log_map(np.array(b.map50))
    return float(estimate), _log_map(a.map50_draws) - _log_map(b.map50_draws)


def _log_map(values: Array) -> Array:
    return np.log(np.maximum(values, SMALLEST_MAP50))


def display_interval(raw: Raw, level: float) -> Interval:
    """Interval of a comparison in percent, or in mAP50 for accuracy."""
    if raw.metric == "accuracy":
        return interval(raw.estimate, raw.draws, level)
    if raw.metric != "efficiency" and raw.location is not None:
        found = raw.location.ratio(level)
        ends = {name: 100 * (getattr(found, name) - 1) for name in ("estimate", "low", "high")}
        return Interval(level=level, **ends)
    return _in_percent(raw.estimate, raw.draws, level)


def relative_accuracy(a: MeasuredVariant, b: MeasuredVariant, level: float) -> Interval:
    """Change of mAP50 from ``b`` to ``a`` in percent of ``b``'s."""
    return _in_percent(*_relative_map(a, b), level)


def _in_percent(estimate: float, draws: Array, level: float) -> Interval:
    return interval(100 * math.expm1(estimate), 100 * np.expm1(draws), level)
