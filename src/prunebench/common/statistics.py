"""Estimates over rounds on one footing, and tests that are corrected for their number.

A round measures variants side by side, so one number per variant and round enters here, never a
single inference: those of one process are autocorrelated. Everything is computed on logarithms,
where a slowdown by a factor is a shift.

Variants are measured in different numbers of rounds, and the host's speed changes from round to
round, so means over their own rounds cannot be compared. All of them go into one model,

    log ms of a variant in a round = effect of the variant + effect of the round + error,

fitted robustly (``two_way``). A ratio of two variants is the difference of their effects, a row is
the variant's effect in a typical round: the ratio of two rows is their paired ratio, exactly.

Standard errors are the jackknife's over rounds (Tukey; Miller, Biometrika 61, 1974) with Student's
t, times n / (n - 1) for the robust scale of few values. Errors of successive rounds are correlated:
a neighbour on the host stays for minutes and slows one network more than another. So the variance
of a mean is that of a first-order autoregression (Bartlett, JRSS Supplement 8, 1946) whose
autocorrelation is corrected for its bias in few values (Marriott and Pope, Biometrika 41, 1954) and
taken to be between none and ``MOST_CORRELATED``. ``benchmarks/coverage.py`` simulates what the
intervals cover.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from prunebench.common.plain import Interval
from prunebench.common.student import quantile, tail
from prunebench.common.two_way import LeftOut, locations, row_effects

Array = npt.NDArray[np.float64]

Rounds = Mapping[int, float]
"""Round number to the milliseconds measured in it."""

Key = TypeVar("Key", bound=Hashable)

FEWEST_ROUNDS = 3  # Rounds below which nothing is said about a difference.
POWER = 0.9  # Chance to find a difference that is called detectable.
MOST_ROUNDS = 10_000  # Longest measurement that is still proposed to settle a difference.
MOST_CORRELATED = 0.7  # Between successive rounds; more cannot be told from a trend.


@dataclass(frozen=True)
class Location:
    """An estimate from ``n`` rounds, its standard error and that error's degrees of freedom."""

    centre: float
    se: float
    df: float
    n: int

    def __neg__(self) -> Location:
        return Location(-self.centre, self.se, self.df, self.n)

    def half_width(self, level: float) -> float:
        """Half the width of the confidence interval."""
        return quantile(self.df, 0.5 + level / 2) * self.se

    def ratio(self, level: float, *, unit: float = 1.0) -> Interval:
        """The confidence interval of the ratio whose logarithm this is, times ``unit``."""
        half = self.half_width(level)
        low, middle, high = (unit * math.exp(self.centre + off) for off in (-half, 0.0, half))
        return Interval(estimate=middle, low=low, high=high, level=level)

    def interval(self, level: float) -> Interval:
        """The confidence interval."""
        half = self.half_width(level)
        ends = self.centre - half, self.centre + half
        return Interval(estimate=self.centre, low=ends[0], high=ends[1], level=level)

    def detectable(self, rounds: int, level: float) -> float:
        """True value that ``rounds`` as noisy find with ``POWER``, at one test's ``level``."""
        quantiles = quantile(rounds - 1, 0.5 + level / 2) + quantile(rounds - 1, POWER)
        return quantiles * self.se * math.sqrt(self.n / rounds)

    def p_value(self) -> float:
        """Two-sided p-value of the true value being 0."""
        if self.se == 0:
            return 1.0 if self.centre == 0 else 0.0
        return 2 * tail(self.df, -abs(self.centre / self.se))


class Footing(Generic[Key]):
    """Variants in rounds, whichever each was measured in: the fit of all of them together."""

    def __init__(self, rounds: Mapping[Key, Rounds]) -> None:
        self._index = {key: index for index, key in enumerate(rounds)}
        numbers = sorted({number for each in rounds.values() for number in each})
        values = [[each.get(number, math.nan) for number in numbers] for each in rounds.values()]
        table = np.log(np.array(values, dtype=float).reshape(len(rounds), len(numbers)))
        self._known = ~np.isnan(table)
        self._effects = row_effects(table) if rounds else LeftOut(table, table)

    def shared(self, a: Key, b: Key) -> int:
        """Rounds that both were measured in."""
        return int((self._known[self._index[a]] & self._known[self._index[b]]).sum())

    def ratio(self, a: Key, b: Key) -> Location:
        """Logarithm of the ratio of two variants, with at least ``FEWEST_ROUNDS`` shared."""
        first, second = self._index[a], self._index[b]
        whole, without = self._effects
        effect = LeftOut(whole[first] - whole[second], without[:, first] - without[:, second])
        return _jackknifed(effect, self._known[first] & self._known[second])

    def level(self, key: Key) -> Location:
        """Logarithm of a variant's milliseconds in a typical round; two rounds are enough."""
        index = self._index[key]
        whole, without = self._effects
        return _jackknifed(LeftOut(whole[index], without[:, index]), self._known[index], fewest=2)


def locate(values: Array) -> Location:
    """Location of one value per round, (rounds,), at least ``FEWEST_ROUNDS``.

    Of the log ratios of two variants it is what a ``Footing`` of the two says.
    """
    return _jackknifed(locations(values), np.ones(len(values), dtype=bool))


def _jackknifed(
    effect: LeftOut, measured: npt.NDArray[np.bool_], *, fewest: int = FEWEST_ROUNDS
) -> Location:
    """The estimate with its error; ``measured`` are the rounds that tell of it, (rounds,)."""
    n = int(measured.sum())
    if n < fewest:
        raise ValueError(f"{n} rounds, at least {fewest} are needed")
    off = effect.without - effect.whole
    variance = (off**2).sum() * (n - 1) / n * _inflation(off[measured] - off[measured].mean())
    se = math.sqrt(variance) * n / (n - 1)
    return Location(centre=float(effect.whole), se=se, df=n - 1, n=n)


def _inflation(off: Array) -> float:
    """Variance of the mean of n successive values by what it were if none were correlated."""
    n, total = len(off), float((off**2).sum())
    if n < 6 or total == 0:
        return 1.0
    correlation = (n * float(off[1:] @ off[:-1]) / total + 1) / (n - 4)
    correlation = min(max(correlation, 0.0), MOST_CORRELATED)
    lags = np.arange(1, n)
    of_mean = 1 + 2 * float(((1 - lags / n) * correlation**lags).sum())
    # Correlated values also vary less around their own mean than around the true one.
    return of_mean * (n - 1) / (n - of_mean)


def add(first: Location, second: Location) -> Location:
    """Sum of two independent estimates, degrees of freedom by Welch and Satterthwaite."""
    variance = first.se**2 + second.se**2
    parts = first.se**4 / first.df + second.se**4 / second.df
    df = variance**2 / parts if parts > 0 else first.df
    centre = first.centre + second.centre
    return Location(centre, math.sqrt(variance), df, min(first.n, second.n))


def of_draws(estimate: float, draws: Array, images: int) -> Location:
    """An estimate whose error is that of draws over as many images."""
    return Location(estimate, float(np.nanstd(draws)), max(images - 1, 1), images)


def of_trainings(scores: Sequence[float], *, unit: float = 1.0) -> Location:
    """What the mean of at least two trainings' ``scores`` may be off for want of others, by unit.

    The choice of trainings is crossed with that of images (Owen, Annals of Applied Statistics 1,
    2007): all trainings are scored on the same images, so the variances of the two means add up,
    here and between variants (``add``: Welch and Satterthwaite for the few trainings). What a
    training and an image have in common is counted in both, which can only widen an interval.
    Few may agree by chance: 95 % intervals of two cover 88 % and more, of three 93 % and more.
    """
    n = len(scores)
    return Location(0.0, float(np.std(scores, ddof=1)) / math.sqrt(n) / unit, n - 1, n)


def over_trainings(found: Location, *trainings: Sequence[float], unit: float = 1.0) -> Location:
    """An estimate over images, with what the choice of several ``trainings`` adds to it."""
    for scores in trainings:
        if len(scores) > 1:
            found = add(found, of_trainings(scores, unit=unit))
    return found


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
