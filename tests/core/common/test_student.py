"""Student's t without scipy, held against scipy's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from prunebench.common.student import quantile, tail

DEGREES = st.one_of(st.integers(1, 10_000).map(float), st.floats(1, 200))


@given(DEGREES, st.floats(-60, 60))
def test_tail_is_scipys(df: float, t: float) -> None:
    assert tail(df, t) == pytest.approx(float(special.stdtr(df, t)), rel=1e-8, abs=1e-300)


@given(DEGREES, st.floats(1e-6, 1 - 1e-6))
def test_quantile_is_scipys(df: float, p: float) -> None:
    assert quantile(df, p) == pytest.approx(float(special.stdtrit(df, p)), rel=1e-7, abs=1e-8)


@pytest.mark.parametrize(("df", "t"), [(1, 12.706), (4, 2.776), (7, 2.365), (30, 2.042)])
def test_quantile_is_that_of_printed_tables(df: float, t: float) -> None:
    assert quantile(df, 0.975) == pytest.approx(t, abs=5e-4)
