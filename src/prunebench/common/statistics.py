"""Estimates over rounds, paired ratios, and tests that are corrected for their number.

A round measures every variant once, so one number per variant and round enters here, never a
single inference: those of one process are autocorrelated. Everything is computed on logarithms,
where a slowdown by a factor is a shift.

The estimator is the mean over rounds with one sixth of them trimmed at each end, because on a
shared machine single rounds are off by tens of percent. Its standard error is Tukey and
McLaughlin's (Sankhya A 25, 1963; Yuen, Biometrika 61, 1974) from the Winsorised variance, times
n / (n - 1), with Student's t and h - 1 degrees of freedom, h being the rounds left after trimming.
The factor holds the error at small n to its nominal size: ``benchmarks/ranking_errors.py``.

A plain bootstrap over 8 rounds is too sure of itself: its 95 % interval, percentile or BCa, covers
80 to 90 % (same script). So the bootstrap gives the shape and Student's t the width: the draws are
stretched on either side of their centre until their percentiles are the ends of the t interval.
An interval over rounds then agrees with its p-value, and the draws carry it into the efficiency.
"""

from __future__ import annotations

import bisect
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from prunebench.common.records import Interval

Array = npt.NDArray[np.float64]

FEWEST_ROUNDS = 3  # Rounds below which nothing is said about a difference.
POWER = 0.9  # Chance to find a difference that is called detectable.
MOST_ROUNDS = 10_000  # Longest measurement that is still proposed to settle a difference.


@dataclass(frozen=True)
class Location:
    """A trimmed mean of ``n`` values, its standard error and that error's degrees of freedom."""

    centre: float
    se: float
    df: float
    n: int

    def __neg__(self) -> Location:
        return Location(-self.centre, self.se, self.df, self.n)

    def half_width(self, level: float) -> float:
        """Half the width of the confidence interval."""
        return float(stats.t.ppf(0.5 + level / 2, self.df)) * self.se

    def ratio(self, level: float) -> Interval:
        """The confidence interval of the ratio whose logarithm this is."""
        half = self.half_width(level)
        low, high = math.exp(self.centre - half), math.exp(self.centre + half)
        return Interval(estimate=math.exp(self.centre), low=low, high=high, level=level)

    def detectable(self, rounds: int, level: float) -> float:
        """True value that ``rounds`` as noisy find with ``POWER``, at one test's ``level``."""
        df = rounds - 2 * trimmed_at_each_end(rounds) - 1
        quantiles = stats.t.ppf(0.5 + level / 2, df) + stats.t.ppf(POWER, df)
        return float(quantiles) * self.se * math.sqrt(self.n / rounds)

    def p_value(self) -> float:
        """Two-sided p-value of the true value being 0."""
        if self.se == 0:
            return 1.0 if self.centre == 0 else 0.0
        return float(2 * stats.t.sf(abs(self.centre / self.se), self.df))


def trimmed_at_each_end(n: int) -> int:
    """Values trimmed at each end of ``n``: one sixth, rounded down."""
    return n // 6


def locate(values: Array) -> Location:
    """Trimmed mean of one value per round, (rounds,), at least ``FEWEST_ROUNDS``."""
    n = len(values)
    if n < FEWEST_ROUNDS:
        raise ValueError(f"{n} rounds, at least {FEWEST_ROUNDS} are needed")
    cut = trimmed_at_each_end(n)
    ordered = np.sort(values)
    kept = ordered[cut : n - cut]
    winsorised = np.clip(ordered, kept[0], kept[-1])
    spread = float(winsorised.std(ddof=1)) * n / (n - 1)
    se = spread * math.sqrt(n) / len(kept)
    return Location(centre=float(kept.mean()), se=se, df=len(kept) - 1, n=n)


def add(first: Location, second: Location) -> Location:
    """Sum of two independent estimates, degrees of freedom by Welch and Satterthwaite."""
    variance = first.se**2 + second.se**2
    parts = first.se**4 / first.df + second.se**4 / second.df
    df = variance**2 / parts if parts > 0 else first.df
    centre = first.centre + second.centre
    return Location(centre, math.sqrt(variance), df, min(first.n, second.n))


def bootstrap_draws(
    values: Array, *, level: float, resamples: int, rng: np.random.Generator
) -> Array:
    """Bootstrap draws, (resamples,), of ``locate``'s centre for ``values``, (rounds,).

    Their percentiles at ``level`` are the ends of Student's t interval.
    """
    location = locate(values)
    centre = functools.partial(stats.trim_mean, proportiontocut=1 / 6)
    result = stats.bootstrap((values,), centre, n_resamples=resamples, method="percentile", rng=rng)
    deviations: Array = result.bootstrap_distribution - location.centre
    tail = (1 - level) / 2
    below, above = (float(abs(np.quantile(deviations, q))) for q in (tail, 1 - tail))
    if below == 0 or above == 0:
        # Too few distinct values to have a shape: take that of the normal distribution.
        deviations = rng.standard_normal(resamples)
        below = above = float(stats.norm.ppf(1 - tail))
    half_width = location.half_width(level)
    stretch = np.where(deviations < 0, half_width / below, half_width / above)
    return location.centre + deviations * stretch


def interval(estimate: float, draws: Array, level: float) -> Interval:
    """Percentile interval of the draws that are not NaN; it always contains the estimate."""
    tail = (1 - level) / 2
    ends = [estimate, *map(float, np.nanquantile(draws, [tail, 1 - tail]))]
    return Interval(estimate=estimate, low=min(ends), high=max(ends), level=level)


def log_ratios(a: Mapping[int, float], b: Mapping[int, float]) -> Array:
    """log(a / b) of every round that both have, in order; both map rounds to positive values."""
    shared = sorted(a.keys() & b.keys())
    return np.log([a[r] for r in shared]) - np.log([b[r] for r in shared])


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values after Holm's step-down adjustment (Scandinavian Journal of Statistics 6, 1979)."""
    count = len(p_values)
    adjusted = [1.0] * count
    largest = 0.0
    for position, index in enumerate(sorted(range(count), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (count - position) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def rounds_to_settle(location: Location, difference: float, *, level: float) -> int | None:
    """Further rounds, if as noisy, after which a true difference would be found with ``POWER``.

    ``difference`` is a share (0.01 is 1 %), ``level`` that of the single comparison; ``None``
    beyond ``MOST_ROUNDS``.
    """
    further = bisect.bisect_left(
        range(location.n, MOST_ROUNDS + 1),
        True,
        key=lambda rounds: location.detectable(rounds, level) <= math.log1p(difference),
    )
    return further if location.n + further <= MOST_ROUNDS else None
