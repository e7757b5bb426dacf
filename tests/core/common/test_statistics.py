"""Estimates over rounds, paired ratios and Holm's correction."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from prunebench.common.statistics import (
    Footing,
    Location,
    holm,
    interval,
    locate,
    log_ratios,
    of_draws,
    rounds_to_settle,
)
from prunebench.common.two_way import CLIP, two_way_fit

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def by_closed_testing(p_values: list[float]) -> list[float]:
    """Holm as the closure of Bonferroni tests (Marcus, Peritz and Gabriel 1976)."""
    indices = range(len(p_values))
    subsets = [
        s for size in range(1, len(p_values) + 1) for s in itertools.combinations(indices, size)
    ]
    return [
        max(min(1.0, len(s) * min(p_values[i] for i in s)) for s in subsets if index in s)
        for index in indices
    ]


@settings(deadline=None)
@given(P_VALUES)
def test_holm_is_the_closure_of_bonferroni(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(by_closed_testing(p_values))


@settings(deadline=None)
@given(P_VALUES)
def test_holm_keeps_the_order_and_never_shrinks_a_p_value(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(a >= p and a <= 1 for a, p in zip(adjusted, p_values, strict=True))
    for (p, a), (q, b) in itertools.combinations(zip(p_values, adjusted, strict=True), 2):
        if p < q:
            assert a <= b


def test_holm_of_nothing_is_nothing() -> None:
    assert holm([]) == []


def test_locate_without_outliers_is_the_t_test_but_for_its_small_sample_factor() -> None:
    """Deviations of one size are beyond no clip; alternating, they are not correlated either."""
    values = 0.3 + 0.1 * np.array([1.0, -1.0] * 6)
    location = locate(values)
    expected = stats.ttest_1samp(values, 0.0)
    assert location.centre / location.se == pytest.approx(expected.statistic * 11 / 12)
    assert (location.df, location.n) == (expected.df, 12)


def test_errors_that_stay_for_some_rounds_widen_the_interval_by_the_textbook_factor() -> None:
    """Bartlett's variance of a mean under a first-order autoregression, by its covariances."""
    values = 0.1 * np.array([1.0, 1.0, -1.0, -1.0] * 3)
    plain = locate(0.1 * np.array([1.0, -1.0] * 6))
    n, products = 12, values[1:] @ values[:-1] / (values @ values)
    correlation = (n * products + 1) / (n - 4)
    assert 0 < correlation < 0.7
    covariances = correlation ** np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    of_mean = covariances.sum() / n
    of_spread = (n - of_mean) / (n - 1)
    assert locate(values).se / plain.se == pytest.approx(math.sqrt(of_mean / of_spread))


def incomplete(seed: int, *, wild: float = 0.0) -> np.ndarray:
    """Log milliseconds of four variants, two of which stop after 8 of 20 rounds."""
    rng = np.random.default_rng(seed)
    table = rng.normal(0, 0.01, (4, 20)) + np.array([[0.0], [0.3], [0.7], [0.8]])
    table += np.cumsum(rng.normal(0, 0.05, 20))
    table += wild * (rng.random(table.shape) < 0.1)
    table[2:, 8:] = np.nan
    return table


def design(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Dummy variables of a two-way table's cells, and the cells."""
    rows, columns = np.nonzero(~np.isnan(table))
    dummies = np.zeros((len(rows), sum(table.shape)))
    dummies[np.arange(len(rows)), rows] = 1
    dummies[np.arange(len(rows)), table.shape[0] + columns] = 1
    return dummies, table[rows, columns]


@pytest.mark.parametrize("wild", [0.0, 0.4])
def test_the_two_way_fit_is_the_one_of_scipy(wild: float) -> None:
    """scipy minimises Huber's loss over dummy variables, by another algorithm."""
    table, scale = incomplete(4, wild=wild), 0.012
    dummies, cells = design(table)
    found = optimize.least_squares(
        lambda effects: dummies @ effects - cells,
        np.zeros(dummies.shape[1]),
        loss="huber",
        f_scale=CLIP * scale,
        xtol=1e-14,
        ftol=1e-14,
        gtol=1e-14,
        max_nfev=2000,
    )
    known = ~np.isnan(table)
    rows, _ = two_way_fit(np.where(known, table, 0.0), known.astype(float), scale)
    expected = found.x[:4]
    assert rows - rows[0] == pytest.approx(expected - expected[0], abs=2e-6)


def footing(table: np.ndarray) -> Footing[int]:
    return Footing(
        {
            index: {number: math.exp(log) for number, log in enumerate(row) if not math.isnan(log)}
            for index, row in enumerate(table)
        }
    )


def test_two_variants_alone_have_the_location_of_their_log_ratios() -> None:
    table = incomplete(5, wild=0.3)[:2]
    found, expected = footing(table).ratio(0, 1), locate(table[0] - table[1])
    assert (found.centre, found.se) == pytest.approx((expected.centre, expected.se))
    assert (found.n, found.df) == (expected.n, expected.df)


@pytest.mark.parametrize("wild", [0.0, 0.3])
def test_rows_of_different_rounds_keep_their_true_ratio_while_the_host_drifts(wild: float) -> None:
    """Means over own rounds are off by what the host did in the rounds that one of them lacks."""
    apart = []
    for seed in range(20):
        table = incomplete(seed, wild=wild)
        found = footing(table).ratio(2, 0)
        assert found.centre == pytest.approx(0.7, abs=4 * found.se)
        apart.append(abs(np.nanmean(table[2]) - table[0].mean() - 0.7) / abs(found.centre - 0.7))
    assert np.median(apart) > 5


def test_a_round_that_hits_every_variant_moves_no_ratio_and_a_row_only_a_little() -> None:
    table = incomplete(6)
    hit = table.copy()
    hit[:, 3] += 0.5
    quiet, loud = footing(table), footing(hit)
    assert loud.ratio(0, 3).centre == pytest.approx(quiet.ratio(0, 3).centre, abs=1e-7)
    assert abs(loud.level(3).centre - quiet.level(3).centre) < 0.05


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.0, 0.5))
def test_ratios_of_rows_are_the_ratios_of_pairs(seed: int, wild: float) -> None:
    found = footing(incomplete(seed, wild=wild))
    for a, b in itertools.combinations(range(4), 2):
        apart = found.level(a).centre - found.level(b).centre
        assert found.ratio(a, b).centre == pytest.approx(apart, abs=1e-12)
        assert (-found.ratio(b, a)).centre == pytest.approx(apart, abs=1e-12)


def test_one_disturbed_round_moves_the_centre_by_less_than_the_noise() -> None:
    rng = np.random.default_rng(2)
    quiet = rng.normal(0, 0.01, 8)
    disturbed = quiet.copy()
    disturbed[3] = 0.7
    assert abs(locate(disturbed).centre - locate(quiet).centre) < 0.01


def test_too_few_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="2 rounds"):
        locate(np.zeros(2))


@pytest.mark.parametrize(("centre", "expected"), [(0.0, 1.0), (0.1, 0.0)])
def test_p_value_without_any_noise(centre: float, expected: float) -> None:
    assert Location(centre, 0.0, 5, 8).p_value() == expected


def test_an_error_of_draws_is_their_spread_over_the_images() -> None:
    draws = np.array([np.nan, 0.1, 0.2, 0.3])
    found = of_draws(0.25, draws, 30)
    assert (found.centre, found.se, found.df) == (0.25, pytest.approx(np.std(draws[1:])), 29)
    level, half = 0.9, found.half_width(0.9)
    expected = stats.t.interval(level, 29, loc=0.25, scale=found.se)
    assert (found.interval(level).low, found.interval(level).high) == pytest.approx(expected)
    assert half == pytest.approx(expected[1] - 0.25)


@pytest.mark.parametrize("n", [8, 12, 20])
def test_intervals_cover_what_they_promise(n: int) -> None:
    rng = np.random.default_rng(n)
    repetitions = 2000
    values = rng.normal(0, 0.014, (repetitions, n))
    locations = [locate(row) for row in values]
    covered = sum(abs(at.centre) <= at.half_width(0.95) for at in locations) / repetitions
    # The binomial standard error is 0.5 %; a plain bootstrap of 8 rounds covers about 90 %.
    assert covered > 0.935


def test_intervals_of_disturbed_rounds_cover_too() -> None:
    rng = np.random.default_rng(5)
    shape = (2000, 8)
    values = rng.normal(0, 0.014, shape)
    values += (rng.random(shape) < 0.15) * rng.exponential(0.05, shape)
    values -= (rng.random(shape) < 0.15) * rng.exponential(0.05, shape)
    locations = [locate(row) for row in values]
    assert sum(abs(at.centre) <= at.half_width(0.95) for at in locations) / 2000 > 0.935


@settings(deadline=None)
@given(
    st.dictionaries(st.integers(0, 9), st.floats(0.1, 100), max_size=10),
    st.dictionaries(st.integers(0, 9), st.floats(0.1, 100), max_size=10),
)
def test_log_ratios_pair_the_rounds_both_have_and_change_sign_when_swapped(
    a: dict[int, float], b: dict[int, float]
) -> None:
    forward = log_ratios(a, b)
    assert len(forward) == len(a.keys() & b.keys())
    assert np.allclose(forward, -log_ratios(b, a))


def test_pairing_cancels_what_a_round_does_to_every_variant() -> None:
    rng = np.random.default_rng(3)
    drift = rng.normal(0, 0.3, 8)
    a = {r: float(np.exp(drift[r]) * 1.38) for r in range(8)}
    b = {r: float(np.exp(drift[r])) for r in range(8)}
    assert np.exp(locate(log_ratios(a, b)).centre) == pytest.approx(1.38)


def test_interval_ignores_draws_that_are_no_numbers_and_holds_its_estimate() -> None:
    draws = np.array([np.nan, *np.linspace(1, 2, 101)])
    found = interval(0.5, draws, 0.9)
    assert (found.low, found.high) == (0.5, pytest.approx(1.95))


def test_rounds_to_settle_is_the_textbook_sample_size_for_small_noise() -> None:
    # Normal approximation: n = ((z_0.975 + z_0.9) * sd / difference)**2.
    sd, rounds = 0.05, 40
    location = Location(0.0, sd / math.sqrt(rounds), 27, rounds)
    more = rounds_to_settle(location, 0.01, level=0.95)
    expected = ((1.959964 + 1.281552) * sd / math.log(1.01)) ** 2
    assert more is not None
    assert rounds + more == pytest.approx(expected, rel=0.02)


def test_rounds_to_settle_finds_the_difference_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    true_sd = 0.014
    more = rounds_to_settle(Location(0.0, true_sd / math.sqrt(8), 5, 8), 0.01, level=0.95)
    assert more is not None
    values = rng.normal(math.log(1.01), true_sd, (1000, 8 + more))
    found = np.mean([locate(row).p_value() < 0.05 for row in values])
    # What is set aside for correlated rounds costs some of the 0.9.
    assert 0.78 < found < 0.97


def test_rounds_to_settle_at_its_ends() -> None:
    assert rounds_to_settle(Location(0.0, 1e-6, 5, 8), 0.01, level=0.95) == 0
    assert rounds_to_settle(Location(0.0, 1.0, 5, 8), 0.01, level=0.95) is None


@settings(deadline=None)
@given(st.floats(0.001, 0.02), st.floats(0.005, 0.05))
def test_smaller_differences_never_need_fewer_rounds(se: float, difference: float) -> None:
    location = Location(0.0, se, 5, 8)
    coarse = rounds_to_settle(location, difference, level=0.95)
    fine = rounds_to_settle(location, difference / 2, level=0.95)
    assert fine is None or (coarse is not None and fine >= coarse)
