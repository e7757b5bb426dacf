"""Numbers as the report prints them; an estimate never goes without its interval."""

from __future__ import annotations

import math

from prunebench.common.records import Interval

MOST_DIGITS = 4
BLANK = "\N{EM DASH}"
"""Stands in a cell that has nothing to say."""


def with_interval(interval: Interval, *, factor: float = 1.0, digits: int | None = None) -> str:
    """ "9.49 [9.41, 9.57]", all three multiplied by ``factor`` (100 for percent).

    Without ``digits``, 0 to 4 decimals, so that the interval's width has two significant digits.
    """
    width = factor * (interval.high - interval.low)
    if digits is None:
        supported = 2 if width <= 0 else 1 - math.floor(math.log10(width))
        digits = min(MOST_DIGITS, max(0, supported))
    ends = (interval.estimate, interval.low, interval.high)
    estimate, low, high = (f"{factor * end:z.{digits}f}" for end in ends)
    return f"{estimate} [{low}, {high}]"


def quotient(a: Interval, b: Interval) -> Interval:
    """a / b of two independent positive estimates, its interval made of theirs.

    MOVER on the logarithmic scale (Zou and Donner 2008, Statistics in Medicine 27, 1693).
    """

    def reach(end: float, estimate: float) -> float:
        return math.log(end / estimate) if end > 0 else -math.inf

    down = math.hypot(reach(a.low, a.estimate), reach(b.high, b.estimate))
    up = math.hypot(reach(a.high, a.estimate), reach(b.low, b.estimate))
    ratio = a.estimate / b.estimate
    return Interval(
        estimate=ratio, low=ratio * math.exp(-down), high=ratio * math.exp(up), level=a.level
    )


def relative(value: float, reference: float) -> str:
    """Change in percent: "-36.6 %"."""
    return f"{100 * (value / reference - 1):+.1f} %"
