"""Student's t distribution, for devices that have no scipy.

The lower tail is half of a regularised incomplete beta function (Abramowitz and Stegun 26.7.1),
which its continued fraction gives (26.5.8, evaluated as by Lentz, Applied Optics 15, 1976).
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

STEPS = 100_000  # The fraction of a million degrees of freedom takes a thousand.
CLOSE = 1e-15
TINY = 1e-300


def tail(df: float, t: float) -> float:
    """Probability of a value at or below ``t``, with ``df`` > 0 degrees of freedom."""
    half = _incomplete_beta(df / (df + t * t), t * t / (df + t * t), df / 2, 0.5) / 2
    return half if t < 0 else 1 - half


@lru_cache(maxsize=4096)
def quantile(df: float, p: float) -> float:
    """The value that a share ``p``, above 0 and below 1, lies below."""
    if p == 0.5:
        return 0.0
    if p > 0.5:
        return -quantile(df, 1 - p)
    low, high = -1.0, 0.0
    while tail(df, low) > p:
        low *= 2
    t = min(max(NormalDist().inv_cdf(p), low), high)
    for _ in range(200):
        off = tail(df, t) - p
        low, high = (t, high) if off < 0 else (low, t)
        following = t - off / _density(df, t)
        if not low < following < high:
            following = (low + high) / 2
        if abs(following - t) <= CLOSE * abs(following):
            break
        t = following
    return t


def _density(df: float, t: float) -> float:
    scale = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - math.log(df * math.pi) / 2
    return math.exp(scale - (df + 1) / 2 * math.log1p(t * t / df))


def _incomplete_beta(x: float, rest: float, a: float, b: float) -> float:
    """I_x(a, b), with ``rest`` = 1 - x as exactly as it is known."""
    if x <= 0 or rest <= 0:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(rest, x, b, a)
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(scale + a * math.log(x) + b * math.log(rest)) / a
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or TINY)
    fraction = d
    for m in range(1, STEPS):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / (1 + term * d or TINY)
            c = 1 + term / c or TINY
            fraction *= c * d
        if abs(c * d - 1) < CLOSE:
            break
    return front * fraction
