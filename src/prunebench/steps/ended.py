"""Whether a signal ended the run, for whoever waits or starts something."""

from __future__ import annotations

import threading

from prunebench.common.errors import StepError

ENDED_REASON = "the run was ended by a signal"

ended = threading.Event()
"""Set once a signal has ended the run; ``child.ending_children`` sets and clears it."""


def was_ended() -> bool:
    """Whether a signal ended the run, so that what fails now is no news."""
    return ended.is_set()


def sleep_unless_ended(seconds: float) -> None:
    """Sleep; StepError as soon as a signal has ended the run."""
    if ended.wait(seconds):
        raise StepError("waiting", ENDED_REASON)
