"""Intervals against scipy's own tests, exact formulas and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from prunebench.common.records import Interval
from prunebench.measuring.latency.intervals import (
    missed_share,
    pooled_percentile,
    ratio_interval,
    realtime_verdict,
    supported_percentiles,
)


@given(st.lists(st.floats(0.1, 1000), min_size=3, max_size=20), st.floats(0.01, 100))
def test_a_ratio_scales_and_inverts(values: list[float], factor: float) -> None:
    own, ones = dict(enumerate(values)), dict.fromkeys(range(len(values)), 1.0)
    found = ratio_interval(own, ones, 0.95)
    scaled = ratio_interval({r: factor * v for r, v in own.items()}, ones, 0.95)
    inverted = ratio_interval(ones, own, 0.95)
    assert found.low <= found.estimate <= found.high
    assert scaled.estimate == pytest.approx(factor * found.estimate, rel=1e-5)
    assert inverted.low == pytest.approx(1 / found.high, rel=1e-5)


def test_percentiles_are_told_from_the_first_count_with_an_order_statistic_interval() -> None:
    # The smallest n with p**n <= 0.025.
    for percentile, smallest in ((50, 6), (90, 36), (95, 72), (99, 368)):
        assert percentile not in supported_percentiles(smallest - 1)
        assert percentile in supported_percentiles(smallest)


def test_pooled_percentile_sees_a_bad_round_that_frames_alone_would_hide() -> None:
    rng = np.random.default_rng(1)
    good = [list(rng.normal(20, 1, 40)) for _ in range(12)]
    bad = [*good[1:], list(rng.normal(80, 1, 40))]
    calm, disturbed = (pooled_percentile(r, 95, 0.95, seed=0) for r in (good, bad))
    # The normal distribution's 95th percentile is 1.645 standard deviations up.
    assert calm.low < 20 + 1.645 < calm.high < 23
    assert disturbed.high > 75
    assert disturbed.low < 25


def test_missed_share_is_clopper_pearson_when_misses_are_independent() -> None:
    ours = missed_share([1, 1, 1, 1], [20, 20, 20, 20], 0.95)
    exact = stats.binomtest(4, 80).proportion_ci(0.95, method="exact")
    assert (ours.low, ours.high) == pytest.approx((exact.low, exact.high))
    assert ours.estimate == 0.05


def test_missed_share_widens_when_misses_come_in_one_round() -> None:
    spread = missed_share([2] * 10, [20] * 10, 0.95)
    clustered = missed_share([20] + [0] * 9, [20] * 10, 0.95)
    assert spread.estimate == clustered.estimate
    assert clustered.high - clustered.low > 2 * (spread.high - spread.low)


def test_no_miss_and_no_hit_stay_uncertain() -> None:
    none = missed_share([0, 0], [30, 30], 0.95)
    assert (none.estimate, none.low) == (0, 0)
    assert none.high == pytest.approx(1 - 0.025 ** (1 / 60))
    every = missed_share([30, 30], [30, 30], 0.95)
    assert (every.estimate, every.high) == (1, 1)
    assert every.low == pytest.approx(0.025 ** (1 / 60))


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(30, 50, "yes"), (51, 70, "no"), (40, 60, "not shown"), (50, 51, "not shown")],
)
def test_realtime_verdict_needs_the_whole_interval(low: float, high: float, verdict: str) -> None:
    assert realtime_verdict(Interval(estimate=45, low=low, high=high), 50) == verdict


def test_realtime_verdict_of_too_few_frames() -> None:
    assert realtime_verdict(None, 50) == "not shown"
