"""Which settings to take: only a shown gain changes a default.

Two measurements. The first, short one screens every change alone against the run's own settings:
what its intervals show to be faster, or smaller and not slower, goes on. The second measures the
combinations of those in rounds of its own, so that nothing that was picked for looking good in the
first is judged by it. In the second every combination is tested against the run's own settings in
time and in memory, all tests one family under Holm's correction: where all settings are equal, at
most one tuning in twenty changes anything (``tests/core/operating/test_tuning_choice.py``
simulates it).

Of what is shown to be faster the fastest is taken, of those not shown to be slower than it the one
with least memory, and of those tied in that too the one that changes least. Where nothing is shown
to be faster, the same goes for what is shown to need less memory at a latency that is a tie.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from prunebench.common.statistics import FEWEST_ROUNDS, Footing, Location, Rounds, holm
from prunebench.operating.tuning.changes import JOIN

LEVEL = 0.95
OWN = "as in the run"
"""The run's own settings, that everything is compared with."""


class Compared(NamedTuple):
    """Milliseconds of a frame and 10^6 bytes of the session, by setting and round."""

    speed: Footing[str]
    memory: Footing[str]

    @classmethod
    def of(cls, milliseconds: Mapping[str, Rounds], megabytes: Mapping[str, Rounds]) -> Compared:
        """Both put on one footing."""
        return cls(Footing(milliseconds), Footing(megabytes))


class Shown(NamedTuple):
    """What the rounds show of a setting against the run's own; logarithms of ratios."""

    time: Location
    memory: Location
    faster: bool
    smaller: bool
    tied: bool  # In time: not shown to be slower, and surely not by what matters.


def shortlist(compared: Compared, names: Sequence[str]) -> list[str]:
    """The changes that are worth combining, the greatest gain in time first, then in memory."""
    gains: dict[str, tuple[bool, float]] = {}
    for name in names:
        if compared.speed.shared(name, OWN) < FEWEST_ROUNDS:
            continue
        time, memory = compared.speed.ratio(name, OWN), compared.memory.ratio(name, OWN)
        if _below(time):
            gains[name] = False, time.centre
        elif _below(memory) and not _below(-time):
            gains[name] = True, memory.centre
    return sorted(gains, key=gains.__getitem__)


def judge(
    compared: Compared, names: Sequence[str], smallest_difference_percent: float
) -> dict[str, Shown]:
    """What is shown of every combination, corrected for their number."""
    pairs = [(compared.speed.ratio(name, OWN), compared.memory.ratio(name, OWN)) for name in names]
    corrected = holm([one.p_value() for one in (*(t for t, _ in pairs), *(m for _, m in pairs))])
    found = {}
    for index, (name, (time, memory)) in enumerate(zip(names, pairs, strict=True)):
        p_time, p_memory = corrected[index], corrected[len(names) + index]
        most = time.centre + time.half_width(LEVEL)
        found[name] = Shown(
            time,
            memory,
            faster=time.centre < 0 and p_time <= 1 - LEVEL,
            smaller=memory.centre < 0 and p_memory <= 1 - LEVEL,
            tied=not _below(-time) and most <= math.log1p(smallest_difference_percent / 100),
        )
    return found


def choose(
    compared: Compared, shown: Mapping[str, Shown], refused: Collection[str] = ()
) -> str | None:
    """The combination to take, ``None``: the run's own settings stay; none of ``refused``."""
    open_ = {name: one for name, one in shown.items() if name not in refused}
    faster = [name for name, one in open_.items() if one.faster]
    left = _best(compared.speed, faster)
    if not left:
        left = [name for name, one in open_.items() if one.smaller and one.tied]
    left = _best(compared.memory, left)
    key = {name: (name.count(JOIN), shown[name].time.centre) for name in left}
    return min(key, key=key.__getitem__) if key else None


def _best(footing: Footing[str], names: Sequence[str]) -> list[str]:
    """The least of these and all that are not shown to be above it."""
    if not names:
        return []
    level = {name: footing.ratio(name, OWN).centre for name in names}
    least = min(level, key=level.__getitem__)
    others = [name for name in names if name != least]
    above = holm([footing.ratio(name, least).p_value() for name in others])
    return [least, *(n for n, p in zip(others, above, strict=True) if p > 1 - LEVEL)]


def _below(found: Location) -> bool:
    """Whether an interval says that a ratio is below 1."""
    return found.centre + found.half_width(LEVEL) < 0
