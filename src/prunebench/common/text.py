"""Figures and lists in words, the same everywhere."""

from __future__ import annotations

import re
import textwrap

from prunebench.common.records import Interval

FACTOR_FROM_PERCENT = 300  # A factor from here on: an mAP50 near zero makes any gain thousands.


def percent(interval: Interval, *, signed: bool = False) -> str:
    """ "38 % [36, 41]", with signs "-0.4 % [-1.9, +1.1]"; large gains as factors: "x5.3 [4, 6]"."""
    if interval.estimate >= FACTOR_FROM_PERCENT:
        return _factor(interval)
    width = interval.high - interval.low
    digits = 2 if width < 0.2 else 1 if width < 2 or abs(interval.estimate) < 10 else 0
    sign = "+z" if signed else "z"
    low, high = f"{interval.low:{sign}.{digits}f}", f"{interval.high:{sign}.{digits}f}"
    return f"{interval.estimate:{sign}.{digits}f} % [{low}, {high}]"


def _factor(interval: Interval) -> str:
    factor, low, high = (1 + p / 100 for p in (interval.estimate, interval.low, interval.high))
    digits = 1 if high - low < 10 else 0
    return f"\N{MULTIPLICATION SIGN}{factor:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def times(interval: Interval) -> str:
    """A factor: "2.06\N{MULTIPLICATION SIGN} [2.00, 2.15]", with one digit from 10 on."""
    digits = 2 if interval.high < 10 else 1
    low, high = f"{interval.low:.{digits}f}", f"{interval.high:.{digits}f}"
    return f"{interval.estimate:.{digits}f}\N{MULTIPLICATION SIGN} [{low}, {high}]"


def points(interval: Interval, *, signed: bool = False) -> str:
    """mAP50 with three digits: "0.021 [0.003, 0.040]"."""
    sign = "+z" if signed else "z"
    low, high = f"{interval.low:{sign}.3f}", f"{interval.high:{sign}.3f}"
    return f"{interval.estimate:{sign}.3f} [{low}, {high}]"


def counted(number: int, noun: str, several: str | None = None) -> str:
    """ "1 round", "40 rounds", "7 classes"."""
    return f"{number} {noun}" if number == 1 else f"{number} {several or noun + 's'}"


def listed(names: tuple[str, ...] | list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def compact(interval: Interval) -> str:
    """Four digits: "1.234 [1.2, 1.25]"."""
    return f"{interval.estimate:.4g} [{interval.low:.4g}, {interval.high:.4g}]"


def first_line(error: BaseException, width: int | None = None) -> str:
    """The first line of an error's message, the name of its class where it has none.

    Words beyond ``width`` characters are left out.
    """
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line if width is None else textwrap.shorten(line, width, placeholder=" ...")


def slug(text: str) -> str:
    """Text as a name in lower case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
