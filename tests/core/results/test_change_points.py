"""Change points: the false-alarm rate, detection, and series kept apart."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prunebench.common.records import Interval
from prunebench.results.history.change_points import FEWEST_ON_A_SIDE, change_points, mark_changes
from prunebench.results.history.reading import Point


def point(day: int, ms: float, *, fingerprint: str = "host", variant: str = "pruned") -> Point:
    latency = Interval(estimate=ms, low=ms * 0.99, high=ms * 1.01)
    return Point(
        run=f"run-{day}",
        started_at=datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=day),
        experiment="compare",
        fingerprint=fingerprint,
        variant=variant,
        threads=1,
        noisy=False,
        onnx_sha256="0" * 64,
        size_mb=6.0,
        latency_ms=latency,
        to_sentinel=ms / 3,
        fps=Interval(estimate=1000 / ms, low=990 / ms, high=1010 / ms),
        map50=Interval(estimate=0.85, low=0.82, high=0.88),
        efficiency=Interval(estimate=141.7 / ms, low=130 / ms, high=150 / ms),
    )


def test_a_clear_change_is_found_where_it_is_with_its_size() -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(10, 0.1, 12), rng.normal(10.5, 0.1, 9)])
    (change,) = change_points(values)
    assert change.index == 12
    assert change.before == pytest.approx(np.median(values[:12]))
    assert change.after == pytest.approx(np.median(values[12:]))
    assert change.p < 0.01


def test_two_changes_are_found_in_order() -> None:
    rng = np.random.default_rng(2)
    levels = np.repeat([10.0, 11.0, 10.4], 10)
    changes = change_points(levels + rng.normal(0, 0.1, 30))
    assert [change.index for change in changes] == [10, 20]
    assert changes[0].after == changes[1].before


def test_one_outlier_is_no_change() -> None:
    values = np.random.default_rng(3).normal(10, 0.1, 20)
    values[13] = 30.0
    assert change_points(values) == ()


@pytest.mark.parametrize("n", [10, 20])
def test_series_without_a_change_are_rarely_cut(n: int) -> None:
    rng = np.random.default_rng(n)
    wrong = sum(bool(change_points(rng.lognormal(2, 0.02, n))) for _ in range(120))
    # One in a hundred: 6 or more of 120 happen by chance in 1 of 700 tests; the seed is fixed.
    assert wrong <= 5


def test_fewer_than_ten_points_are_never_cut() -> None:
    assert change_points([1.0] * 5 + [9.0] * 4) == ()
    assert change_points([]) == ()


def test_a_change_is_shown_only_once_enough_points_lie_behind_it() -> None:
    noise = np.random.default_rng(5).normal(0, 0.01, 12)
    assert change_points(np.repeat([10.0, 12.0], [9, 3]) + noise) == ()
    assert [c.index for c in change_points(np.repeat([10.0, 12.0], [7, 5]) + noise)] == [7]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.1, 100), min_size=10, max_size=25))
def test_laws_of_change_points(values: list[float]) -> None:
    changes = change_points(values)
    edges = [0, *(change.index for change in changes), len(values)]
    assert all(b - a >= FEWEST_ON_A_SIDE for a, b in itertools.pairwise(edges))
    assert changes == change_points(values)
    # Ranks alone decide, so a change of the unit does not: by 4, which makes no two values equal.
    scaled = change_points([4 * value for value in values])
    assert [c.index for c in scaled] == [c.index for c in changes]


def test_constant_series_have_no_change() -> None:
    assert change_points([5.0] * 30) == ()


def test_series_of_different_hosts_and_variants_are_never_joined() -> None:
    """Ten fast runs on one host and ten slow ones on another are no change."""
    points = [point(day, 10.0 + day % 3 / 100) for day in range(10)]
    points += [point(day, 20.0 + day % 3 / 100, fingerprint="other") for day in range(10, 20)]
    points += [point(day, 30.0, variant="baseline") for day in range(4)]
    one, two, three = mark_changes(points)
    assert (one.changes, two.changes, three.changes) == ((), (), ())
    assert [one.too_short, two.too_short, three.too_short] == [False, False, True]


def test_points_without_the_figure_are_left_out() -> None:
    points = [point(day, 10.0 if day < 12 else 12.0) for day in range(24)]
    points[1::2] = [one.model_copy(update={"to_sentinel": None}) for one in points[1::2]]
    (series,) = mark_changes(points)
    assert len(series.points) == 12
    assert [series.points[c.index].run for c in series.changes] == ["run-12"]
