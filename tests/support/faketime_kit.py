"""The environment of a process whose clock a test sets, by Debian's libfaketime."""

from __future__ import annotations

import os
from pathlib import Path

from tests.conftest import missing_system_package

SLEEP = '''
"""libfaketime refuses to sleep until a time of the monotonic clock, which Python's sleep does."""
import select, time

def sleep(seconds):
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    select.select([], [], [], seconds)

time.sleep = sleep
'''


def faketime_installed() -> bool:
    """Whether the library is there."""
    return bool(_libraries())


def _libraries() -> list[Path]:
    return sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


def faketime(clock: Path) -> dict[str, str]:
    """Let the file ``clock`` say how far off the wall clock is ("-1h"), at any time.

    As on a real host the monotonic clock goes on.
    """
    if not faketime_installed():
        missing_system_package("there is no libfaketime (Debian: apt-get install libfaketime)")
    clock.write_text("+0")
    site = clock.with_name(f"{clock.name}-site")
    site.mkdir()
    (site / "sitecustomize.py").write_text(SLEEP)
    return {
        "LD_PRELOAD": str(_libraries()[0]),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        # Seconds; to read the file for every look at a clock would slow everything down.
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "PYTHONPATH": os.pathsep.join((str(site), os.environ.get("PYTHONPATH", ""))),
    }
