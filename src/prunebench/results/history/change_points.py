"""Change points of a series of runs on one host.

Method: binary segmentation (Scott and Knott, Biometrics 30, 1974). In each segment the split is
taken at which the ranks of the values on either side differ most, the rank version of the
cumulative-sum statistic (Pettitt, Applied Statistics 28, 1979); it counts where fewer than one in a
hundred random orders of the same values split as well. Ranks, because a series of benchmarks has
outliers; random orders, because it follows no known distribution. Segments are cut again until
nothing counts any more.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from prunebench.common.records import Record
from prunebench.results.history.reading import Point, Series

FEWEST_POINTS = 10
"""Points of one fingerprint below which no change is marked."""

FEWEST_ON_A_SIDE = 3
PERMUTATIONS = 1999
FALSE_ALARMS = 0.01
"""The chance that a segment without any change is cut."""

SEED = 20240229


class ChangePoint(Record):
    """A change in a series.

    Attributes:
        index: Position of the first value after the change.
        before: Median of the segment before it.
        after: Median of the segment after it.
        p: Share of random orders that split as well.
    """

    index: int
    before: float
    after: float
    p: float


class MarkedSeries(Record):
    """A series with its changes marked.

    Attributes:
        experiment: Name of the configuration.
        fingerprint: Digest of the host's fingerprint.
        variant: The variant.
        threads: ``intra_op_num_threads``.
        points: Its points, the oldest first.
        changes: Empty with fewer than ``FEWEST_POINTS`` points.
    """

    experiment: str
    fingerprint: str
    variant: str
    threads: int
    points: tuple[Point, ...]
    changes: tuple[ChangePoint, ...]

    @property
    def too_short(self) -> bool:
        """Whether it has too few points for a change to be marked."""
        return len(self.points) < FEWEST_POINTS


def change_points(values: Sequence[float]) -> tuple[ChangePoint, ...]:
    """Find where a series of values changed.

    Args:
        values: The series, the oldest first.

    Returns:
        In order; empty with fewer than ``FEWEST_POINTS`` values. Even a clear change is shown only
        once 5 points, in longer series 4, lie on either side of it.
    """
    series = np.asarray(values, dtype=np.float64)
    if len(series) < FEWEST_POINTS:
        return ()
    rng = np.random.default_rng(SEED)
    cuts: dict[int, float] = {}
    waiting = [(0, len(series))]
    while waiting:
        start, end = waiting.pop()
        if end - start < 2 * FEWEST_ON_A_SIDE:
            continue
        split, p = _best_split(series[start:end], rng)
        if p <= FALSE_ALARMS:
            cuts[start + split] = p
            waiting += [(start, start + split), (start + split, end)]
    edges = [0, *sorted(cuts), len(series)]
    medians = [float(np.median(series[a:b])) for a, b in itertools.pairwise(edges)]
    return tuple(
        ChangePoint(index=index, before=before, after=after, p=cuts[index])
        for index, (before, after) in zip(edges[1:-1], itertools.pairwise(medians), strict=True)
    )


def mark_changes(points: Sequence[Point]) -> tuple[MarkedSeries, ...]:
    """Split points into series of one fingerprint each and mark where their latency changed.

    What is looked at is ``to_sentinel``, the latency without the host's own ups and downs; points
    without it are left out.
    """
    by_series: dict[Series, list[Point]] = {}
    for point in points:
        by_series.setdefault(point.series, [])
        if point.to_sentinel is not None:
            by_series[point.series].append(point)
    return tuple(
        MarkedSeries(
            experiment=experiment,
            fingerprint=fingerprint,
            variant=variant,
            threads=threads,
            points=tuple(members),
            changes=change_points([one.to_sentinel for one in members if one.to_sentinel]),
        )
        for (experiment, fingerprint, variant, threads), members in by_series.items()
    )


def _best_split(values: npt.NDArray[np.float64], rng: np.random.Generator) -> tuple[int, float]:
    """Position of the best split and the share of random orders with one as good."""
    ranks = stats.rankdata(values)
    observed = _statistics(ranks[None])[0]
    orders = rng.permuted(np.tile(ranks, (PERMUTATIONS, 1)), axis=1)
    # Splits that are equally good must not differ by rounding.
    as_good = _statistics(orders).max(axis=1) >= observed.max() - 1e-9
    p = (1 + int(as_good.sum())) / (PERMUTATIONS + 1)
    return FEWEST_ON_A_SIDE + int(observed.argmax()), p


def _statistics(ranks: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """|sum of the left ranks - its expectation| / its standard deviation, per row and split."""
    n = ranks.shape[1]
    left = np.arange(FEWEST_ON_A_SIDE, n - FEWEST_ON_A_SIDE + 1)
    sums = np.cumsum(ranks, axis=1)[:, left - 1]
    spread = np.sqrt(left * (n - left) * (n + 1) / 12)
    deviations: npt.NDArray[np.float64] = np.abs(sums - left * (n + 1) / 2) / spread
    return deviations
