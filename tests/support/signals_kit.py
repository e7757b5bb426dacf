"""What a command that was ended by a signal may have left."""

from __future__ import annotations

import psutil


def at_work(process: psutil.Process) -> bool:
    """Whether it is alive: an orphan that ended may wait for a slow init to take note."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
