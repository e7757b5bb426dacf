"""Widths after pruning."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prunebench.variants.pruning.alignment import aligned_width


@pytest.mark.parametrize(
    ("width", "ratio", "round_to", "expected"),
    [
        (64, 0.15, None, 54),
        (64, 0.15, 8, 48),
        (64, 0.15, 16, 48),
        (64, 0.25, 16, 48),  # exactly on the block
        (20, 0.15, None, 17),  # 20 * 0.85 is 17, which floats make 16.999...
        (16, 0.5, 16, 16),  # never below a block
        (10, 0.5, 16, 10),  # no wider than a block
        (80, 0.99, 8, 8),
        (3, 0.99, None, 1),  # never zero
    ],
)
def test_examples(width: int, ratio: float, round_to: int | None, expected: int) -> None:
    assert aligned_width(width, ratio, round_to) == expected


# A busy machine must not fail a law.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@patient
@given(
    width=st.integers(1, 1024),
    ratio=st.floats(0.001, 0.999),
    round_to=st.none() | st.sampled_from([1, 4, 8, 16, 32]),
)
def test_laws(width: int, ratio: float, round_to: int | None) -> None:
    kept = aligned_width(width, ratio, round_to)
    block = round_to or 1
    assert 1 <= kept <= width
    assert kept == width if width <= block else kept >= block and kept % block == 0
    if kept > block:
        assert kept <= width * (1 - ratio) + 1e-6


@patient
@given(width=st.integers(1, 512), low=st.floats(0.01, 0.98), step=st.floats(0.001, 0.5))
def test_a_higher_ratio_never_keeps_more(width: int, low: float, step: float) -> None:
    high = min(0.99, low + step)
    assert aligned_width(width, high, 8) <= aligned_width(width, low, 8)
