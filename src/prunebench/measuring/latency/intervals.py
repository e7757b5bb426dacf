"""Intervals over rounds. The round is the unit: inferences inside one are autocorrelated."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from prunebench.common.records import Interval
from prunebench.common.statistics import locate, log_ratios
from prunebench.measuring.latency.raw import RealTime

PERCENTILES = (50, 90, 95, 99)
RESAMPLES = 2000


def ratio_interval(a: Mapping[int, float], b: Mapping[int, float], level: float) -> Interval:
    """The ratio a / b of two alone, round to milliseconds, over the rounds that both have."""
    return locate(log_ratios(a, b)).ratio(level)


def supported_percentiles(n: int, level: float = 0.95) -> tuple[int, ...]:
    """The percentiles among 50, 90, 95 and 99 that ``n`` values can tell.

    The rule: a distribution-free interval between two order statistics exists at ``level``,
    so the largest of ``n`` values lies beyond the percentile with enough certainty:
    ``q ** n <= (1 - level) / 2``. At 95 % that takes 6, 36, 72 and 368 values.
    (David and Nagaraja, Order Statistics, section 7.1.)
    """
    return tuple(p for p in PERCENTILES if (p / 100) ** n <= (1 - level) / 2)


def pooled_percentile(
    rounds: Sequence[Sequence[float]], percentile: float, level: float, *, seed: int
) -> Interval:
    """A percentile, 0..100, of all values; its interval from a bootstrap over whole rounds.

    Frames inside a round are autocorrelated, so rounds (at least two) are resampled, not frames.
    The interval is the expanded percentile one (Hesterberg 2015, The American Statistician 69),
    whose levels are widened by Student's t for the small number of rounds.
    """
    values = [np.asarray(one, dtype=float) for one in rounds]
    count = len(values)
    chosen = np.random.default_rng(seed).integers(0, count, (RESAMPLES, count))
    resampled = [
        _percentile(np.concatenate([values[index] for index in one]), percentile) for one in chosen
    ]
    t = special.stdtrit(count - 1, (1 + level) / 2)
    tail = float(special.ndtr(-math.sqrt(count / (count - 1)) * t))
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return Interval(
        estimate=_percentile(np.concatenate(values), percentile),
        low=float(low),
        high=float(high),
        level=level,
    )


def missed_share(missed: Sequence[int], frames: Sequence[int], level: float) -> Interval:
    """Share of missed deadlines, 0..1, with an exact binomial interval for clustered counts.

    Clopper-Pearson on the effective number of frames: divided by the design effect where
    misses come in clusters (Korn and Graubard 1998, Survey Methodology 24). Without a miss the
    upper end is still above 0. ``missed`` and ``frames`` are counts per round.
    """
    misses, counts = np.asarray(missed, dtype=float), np.asarray(frames, dtype=float)
    effective = total = counts.sum()
    share = misses.sum() / total
    if len(counts) > 1 and 0 < share < 1:
        deviations = misses - share * counts
        between = (deviations**2).sum() * len(counts) / (len(counts) - 1) / total**2
        effective = total / max(1.0, between / (share * (1 - share) / total))
    hits, tail = share * effective, (1 - level) / 2
    low = 0.0 if hits == 0 else float(special.betaincinv(hits, effective - hits + 1, tail))
    high = 1.0
    if hits < effective:
        high = float(special.betaincinv(hits + 1, effective - hits, 1 - tail))
    return Interval(estimate=float(share), low=low, high=high, level=level)


def realtime_verdict(p95: Interval | None, deadline_ms: float) -> RealTime:
    """Whether frames meet the deadline, by the interval of their 95th percentile in ms (if any)."""
    if p95 is None:
        return "not shown"
    if p95.high <= deadline_ms:
        return "yes"
    return "no" if p95.low > deadline_ms else "not shown"


def _percentile(values: NDArray[np.float64], percentile: float) -> float:
    # Hyndman and Fan's type 8: numpy's default is biased towards the median in small samples.
    return float(np.percentile(values, percentile, method="median_unbiased"))
