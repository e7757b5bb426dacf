"""Find the point of a path that is as fast as asked for, by measuring a few of them.

Speed does not depend on the weights, so candidates are measured before anything is retrained.
Between measured points the prediction is corrected by what the measurements said. A candidate is
measured until its interval tells whether it is near enough, as far as rounds and minutes reach.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from prunebench.common.errors import StepError
from prunebench.common.records import Interval
from prunebench.config.targets import Goal

TOLERANCE = 0.03  # a latency target is met within this share of it

AIM = 0.015
"""Search ends early within this share of the target: half of the tolerance is left to noise, which
is what a candidate near the target is measured down to.
"""

TRIES = 7
ROUNDS = 6  # rounds in which a candidate is measured beside the baseline, at first
SECONDS = 0.3  # timed seconds of each of the two in a round
STEEPEST = 0.9  # two close points that differ by noise would otherwise point anywhere


class Timed(NamedTuple):
    """A candidate's time divided by the baseline's beside it, and its milliseconds.

    ``throttled``: the CPU was, meanwhile.
    """

    ratio: Interval
    latency_ms: Interval
    throttled: bool = False

    def asked(self, goal: Goal) -> Interval:
        """What a target names: times as fast as the baseline, or milliseconds."""
        if goal.kind != "speedup":
            return self.latency_ms
        slower = self.ratio
        ends = {"low": 1 / slower.high, "high": 1 / slower.low}
        return Interval(estimate=1 / slower.estimate, **ends, level=slower.level)


class Found(NamedTuple):
    """Where on the path the search ended, and whether that is within ``TOLERANCE`` (``met``).

    ``unsure``: what the target names lies in there, which is too wide to tell.
    """

    point: int
    timed: Timed
    met: bool
    unsure: Interval | None


class Off(NamedTuple):
    """Logarithm of how much slower than a target something is, and the ends of its interval."""

    estimate: float
    low: float
    high: float

    @property
    def is_missed(self) -> bool:
        """Whether it is shown to be beyond ``TOLERANCE``."""
        return self.low > math.log1p(TOLERANCE) or self.high < -math.log1p(TOLERANCE)

    def is_within(self, share: float) -> bool:
        """Whether half of the interval is at most that share."""
        return self.high - self.low <= 2 * math.log1p(share)


def off_target(timed: Timed, goal: Goal) -> Off:
    """How far from a target a candidate is."""
    found = timed.asked(goal)
    low, middle, high = (math.log(v / goal.value) for v in (found.low, found.estimate, found.high))
    return Off(-middle, -high, -low) if goal.kind == "speedup" else Off(middle, low, high)


def is_told(timed: Timed, goal: Goal) -> bool:
    """Whether more rounds would change nothing: it is shown to be off, or exact enough."""
    off = off_target(timed, goal)
    return off.is_missed or off.is_within(AIM)


def find_point(
    predicted: Sequence[float],
    time: Callable[[int], Timed],
    goal: Goal,
    note: Callable[[str], None],
) -> Found:
    """Measure points of a path until one meets a latency target.

    ``predicted``: for each point its predicted time, in any unit; the first is the unpruned
    network. It falls along the path, but not at every step.

    Raises:
        StepError: Even the last point is shown to be slower than the target, or the first pruned
            one to be faster.
    """
    tried: dict[int, Timed] = {}

    def off(index: int) -> float:
        return off_target(tried[index], goal).estimate

    last = len(predicted) - 1
    while len(tried) < min(TRIES, last):
        index = _next(predicted, tried, off, goal)
        if index is None:
            break
        tried[index] = time(index)
        note(_sentence(tried[index]))
        shown = off_target(tried[index], goal)
        if index == last and shown.is_missed and shown.estimate > 0:
            raise StepError(
                "prune",
                f"the target {goal.label} cannot be reached: the narrowest network there is "
                f"{_sentence(tried[last])}",
            )
        if index == 1 and shown.is_missed and shown.estimate < 0:
            raise StepError(
                "prune",
                f"the target {goal.label} needs no pruning: the widest network that is pruned is "
                f"{_sentence(tried[1])}",
            )
        if abs(off(index)) <= math.log1p(AIM):
            break
    best = min(tried, key=lambda index: abs(off(index)))
    found = off_target(tried[best], goal)
    told = found.is_missed or found.is_within(TOLERANCE)
    met = told and abs(found.estimate) <= math.log1p(TOLERANCE)
    return Found(best, tried[best], met, None if told else tried[best].asked(goal))


def _next(
    predicted: Sequence[float], tried: dict[int, Timed], off: Callable[[int], float], goal: Goal
) -> int | None:
    """The untried point whose corrected prediction is nearest to the target."""
    whole = predicted[0]
    if not tried:
        # Milliseconds, or a speed-up in INT8 over a float file, say nothing yet about the ratio to
        # the unpruned network.
        wanted = 1 / goal.value if goal.kind == "speedup" and not goal.int8 else 0.6
        return _nearest([math.log(p / whole / wanted) for p in predicted], tried)
    # What a point turned out to be off by, beyond what was predicted: a line through two points is
    # exact where time is a power of the prediction.
    logs = [math.log(p / whole) for p in predicted]
    known = sorted(tried, key=lambda i: logs[i])
    corrections = [(logs[i], off(i) - logs[i]) for i in known]
    expected = [log + _line(log, corrections) for log in logs]
    index = _nearest(expected, tried)
    best = min(tried, key=lambda i: abs(off(i)))
    if index is None or abs(off(best)) > math.log1p(TOLERANCE):
        return index
    # Within the tolerance, another measurement has to promise more than what there is.
    return index if abs(expected[index]) < abs(off(best)) else None


def _line(x: float, known: Sequence[tuple[float, float]]) -> float:
    """Value at ``x`` of the line through the two nearest of ``known``, (x, y) by rising x."""
    if len(known) == 1:
        return known[0][1]
    right = min(max(1, sum(place < x for place, _ in known)), len(known) - 1)
    (x0, y0), (x1, y1) = known[right - 1], known[right]
    if x1 == x0:
        return y0
    slope = min(STEEPEST, max(-STEEPEST, (y1 - y0) / (x1 - x0)))
    near, value = (x0, y0) if abs(x - x0) < abs(x - x1) else (x1, y1)
    return value + slope * (x - near)


def _nearest(expected: Sequence[float], tried: dict[int, Timed]) -> int | None:
    untried = [i for i in range(1, len(expected)) if i not in tried]
    return min(untried, key=lambda i: abs(expected[i]), default=None)


def _sentence(timed: Timed) -> str:
    ratio = timed.ratio
    return (
        f"{1 / ratio.estimate:.2f}x as fast as the baseline "
        f"[{1 / ratio.high:.2f}, {1 / ratio.low:.2f}], {timed.latency_ms.estimate:.2f} ms"
    )
