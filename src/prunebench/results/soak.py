"""What minutes of load did to a measurement: facts, which ``messages`` puts into words."""

from __future__ import annotations

from prunebench.common.records import Record


class Part(Record):
    """A part of a measurement: its rounds, the typical clock and heat of its turns where readable.

    ``throttled`` of its child ``runs`` were, in one turn or more.
    """

    rounds: int
    mhz: float | None
    celsius: float | None
    throttled: int
    runs: int


class Moved(Record):
    """A variant whose rank is another one after minutes of load: its labels."""

    name: str
    first: str
    last: str


class Soak(Record):
    """What minutes of load did: the last third of a measurement by its first minute.

    ``times`` is how many times as long a network took.
    """

    minutes: float
    times: float
    moved: tuple[Moved, ...]
    first: Part
    last: Part
