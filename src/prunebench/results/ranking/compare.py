"""Pairs of variants, compared in every metric and corrected for their number.

Each metric is a family of its own for Holm's correction: at most one run in twenty (at level
0.95) declares any false difference in it. Pairs that run the same network are no part of the
speed families: there is nothing to find.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prunebench.common.records import Interval
from prunebench.common.statistics import (
    FEWEST_ROUNDS,
    Array,
    Location,
    add,
    bootstrap_draws,
    holm,
    interval,
    locate,
    log_ratios,
    rounds_to_settle,
)
from prunebench.config.sections import RankingConfig
from prunebench.results.ranking import text
from prunebench.results.ranking.measured import Measured, Rounds
from prunebench.results.ranking.records import Difference, Metric

SMALLEST_MAP50 = 1e-3
"""A lower mAP50 counts as this in a relative comparison, where 0 would have no logarithm."""

FEWEST_IMAGES = 20
"""Images below which nothing is said about a difference in accuracy."""

SETTLE_LADDER = (0.03, 0.02, 0.01, 0.005, 0.002, 0.001)
"""Differences, as shares, that further rounds are proposed for; the first unsettled one."""


@dataclass(frozen=True)
class Raw:
    """A comparison before its correction, ``a`` against ``b``; positive where ``a`` is better.

    Attributes:
        metric: The metric.
        a: First variant.
        b: Second variant.
        estimate: Log ratio, or mAP50 for accuracy; NaN where too few rounds are shared.
        draws: Bootstrap draws of it, shape (resamples,).
        p: p-value; 1 where it cannot be told.
        same_network: Both run the same operations.
        location: Log ratios by round, for the metrics that have them.
    """

    metric: Metric
    a: str
    b: str
    estimate: float
    draws: Array
    p: float
    same_network: bool
    location: Location | None = None


def compare_all(
    measured: Sequence[Measured],
    *,
    threads: int,
    config: RankingConfig,
    smallest_difference: float,
    looks: int,
    rng: np.random.Generator,
) -> tuple[list[Difference], dict[tuple[Metric, str, str], Raw]]:
    """Compare every pair in every metric.

    Args:
        measured: Variants with at least ``FEWEST_ROUNDS`` rounds each.
        threads: The thread count.
        config: Metric, level and resamples.
        smallest_difference: Smallest difference that matters, as a share.
        looks: How often the measuring could have stopped on what it saw. Every look is a chance
            of a false alarm, so the p-values that rest on rounds are multiplied by it.
        rng: Source of randomness.

    Returns:
        The corrected differences, and the raw ones by (metric, a, b) in both orders.
    """
    raws: list[Raw] = []
    for a, b in itertools.combinations(measured, 2):
        raws += _compare_pair(a, b, threads, config, rng)
    differences = []
    for metric in ("speed", "latency", "accuracy", "efficiency"):
        family = [raw for raw in raws if raw.metric == metric]
        multiplier = 1 if metric == "accuracy" else looks
        tested = [raw for raw in family if not _has_nothing_to_find(raw)]
        corrected = holm([min(1.0, raw.p * multiplier) for raw in tested])
        by_pair = {(raw.a, raw.b): p for raw, p in zip(tested, corrected, strict=True)}
        for raw in family:
            p_corrected = by_pair.get((raw.a, raw.b), 1.0)
            differences.append(
                _difference(raw, p_corrected, len(tested) * multiplier, config, smallest_difference)
            )
    lookup = {(raw.metric, raw.a, raw.b): raw for raw in raws}
    lookup |= {(raw.metric, raw.b, raw.a): _swapped(raw) for raw in raws}
    return differences, lookup


def _has_nothing_to_find(raw: Raw) -> bool:
    return raw.same_network and raw.metric in ("speed", "latency")


def _swapped(raw: Raw) -> Raw:
    location = None if raw.location is None else -raw.location
    return Raw(
        raw.metric, raw.b, raw.a, -raw.estimate, -raw.draws, raw.p, raw.same_network, location
    )


def _compare_pair(
    a: Measured, b: Measured, threads: int, config: RankingConfig, rng: np.random.Generator
) -> list[Raw]:
    same = a.is_same_network(b)
    speed = _by_rounds(
        "speed", a, b, a.end_to_end_ms[threads], b.end_to_end_ms[threads], config, rng
    )
    latency = _by_rounds("latency", a, b, a.latency_ms[threads], b.latency_ms[threads], config, rng)
    accuracy = _accuracy(a, b, same)
    return [speed, latency, accuracy, _efficiency(a, b, speed)]


def _by_rounds(
    metric: Metric,
    a: Measured,
    b: Measured,
    a_ms: Rounds,
    b_ms: Rounds,
    config: RankingConfig,
    rng: np.random.Generator,
) -> Raw:
    ratios = log_ratios(b_ms, a_ms)
    same = a.is_same_network(b)
    if len(ratios) < FEWEST_ROUNDS:
        unknown = np.full(config.bootstrap, math.nan)
        return Raw(metric, a.name, b.name, math.nan, unknown, 1.0, same)
    location = locate(ratios)
    draws = bootstrap_draws(ratios, level=config.level, resamples=config.bootstrap, rng=rng)
    return Raw(metric, a.name, b.name, location.centre, draws, location.p_value(), same, location)


def _accuracy(a: Measured, b: Measured, same: bool) -> Raw:
    draws = a.map50_draws - b.map50_draws
    location = _of_draws(a.map50 - b.map50, draws, a.images)
    p = location.p_value() if a.images >= FEWEST_IMAGES else 1.0
    return Raw("accuracy", a.name, b.name, location.centre, draws, p, same)


def _of_draws(estimate: float, draws: Array, n: int) -> Location:
    return Location(estimate, float(np.nanstd(draws)), max(n - 1, 1), n)


def _efficiency(a: Measured, b: Measured, speed: Raw) -> Raw:
    """Relative difference of mAP50 x FPS / MB.

    Between variants of one network the speed difference is known to be none, so they are told
    apart only where accuracy and size alone do so as well, in the same direction.
    """
    size = math.log(b.size_mb / a.size_mb)
    draws = _log_map(a.map50_draws) - _log_map(b.map50_draws) + size
    estimate = float(_log_map(np.array(a.map50)) - _log_map(np.array(b.map50))) + size
    without_speed = _of_draws(estimate, draws, a.images)
    p = 1.0
    if speed.location is not None and a.images >= FEWEST_IMAGES:
        both = add(without_speed, speed.location)
        p = both.p_value()
        if speed.same_network:
            agree = both.centre * without_speed.centre > 0
            p = max(p, without_speed.p_value()) if agree else 1.0
    return Raw(
        "efficiency",
        a.name,
        b.name,
        estimate + speed.estimate,
        draws + speed.draws,
        p,
        speed.same_network,
        speed.location,
    )


def _log_map(values: Array) -> Array:
    return np.log(np.maximum(values, SMALLEST_MAP50))


def _difference(
    raw: Raw,
    p_corrected: float,
    comparisons: int,
    config: RankingConfig,
    smallest_difference: float,
) -> Difference:
    level = config.level
    if raw.estimate < 0:
        raw = _swapped(raw)
    measured = None if math.isnan(raw.estimate) else display_interval(raw, level)
    told_apart = p_corrected <= 1 - level
    settles, more = None, None
    by_rounds = raw.metric in ("speed", "latency") and not raw.same_network
    if by_rounds and not told_apart and raw.location is not None:
        single = 1 - (1 - level) / max(comparisons, 1)
        settles, more = _proposal(raw.location, single, smallest_difference)
    difference = Difference(
        metric=raw.metric,
        first=raw.a,
        second=raw.b,
        interval=measured,
        p=raw.p,
        p_corrected=p_corrected,
        told_apart=told_apart,
        same_network=raw.same_network,
        rounds=0 if raw.location is None else raw.location.n,
        settles_percent=settles,
        more_rounds=more,
        sentence="",
    )
    sentence = text.difference_sentence(difference, smallest_difference, config.metric)
    return difference.model_copy(update={"sentence": sentence})


def display_interval(raw: Raw, level: float) -> Interval:
    """Interval of a comparison in percent, or in mAP50 for accuracy."""
    if raw.metric == "accuracy":
        return interval(raw.estimate, raw.draws, level)
    return interval(100 * math.expm1(raw.estimate), 100 * np.expm1(raw.draws), level)


def relative_accuracy(a: Measured, b: Measured, level: float) -> Interval:
    """Change of mAP50 from ``b`` to ``a`` in percent of ``b``'s."""
    estimate = float(_log_map(np.array(a.map50)) - _log_map(np.array(b.map50)))
    draws = _log_map(a.map50_draws) - _log_map(b.map50_draws)
    return interval(100 * math.expm1(estimate), 100 * np.expm1(draws), level)


def _proposal(
    location: Location, level: float, smallest_difference: float
) -> tuple[float | None, int | None]:
    ladder = [smallest_difference, *(d for d in SETTLE_LADDER if d < smallest_difference)]
    for difference in ladder:
        more = rounds_to_settle(location, difference, level=level)
        if more is None:
            return None, None
        if more > 0:
            return 100 * difference, more
    return None, None
