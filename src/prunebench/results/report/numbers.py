"""Numbers as the report prints them; an estimate never goes without its interval."""

from __future__ import annotations

import math

from prunebench.common.records import Interval

MOST_DIGITS = 4
BLANK = "\N{EM DASH}"
"""Stands in a cell that has nothing to say."""


def digits_for(interval: Interval) -> int:
    """Decimals at which the interval's width has two significant digits, 0 to 4."""
    width = interval.high - interval.low
    if width <= 0:
        return 2
    return min(MOST_DIGITS, max(0, 1 - math.floor(math.log10(width))))


def with_interval(
    interval: Interval, *, factor: float = 1.0, signed: bool = False, digits: int | None = None
) -> str:
    """ "9.49 [9.41, 9.57]".

    Args:
        interval: The estimate.
        factor: Multiplies all three numbers (100 for percent).
        signed: Whether positive numbers carry a sign.
        digits: Decimals; ``None``: as many as the width supports.
    """
    scaled = Interval(
        estimate=interval.estimate * factor, low=interval.low * factor, high=interval.high * factor
    )
    places = digits_for(scaled) if digits is None else digits
    sign = "+" if signed else ""
    low, high = f"{scaled.low:{sign}.{places}f}", f"{scaled.high:{sign}.{places}f}"
    return f"{scaled.estimate:{sign}.{places}f} [{low}, {high}]"


def count(value: int | None) -> str:
    """ "3,012,213", or a dash where unknown."""
    return BLANK if value is None else f"{value:,}"


def relative(value: float, reference: float) -> str:
    """Change in percent: "-36.6 %"."""
    return f"{100 * (value / reference - 1):+.1f} %"
