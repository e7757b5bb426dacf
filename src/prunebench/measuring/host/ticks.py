"""What all CPUs of the host have done since boot, in clock ticks."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def host_ticks() -> NDArray[np.int64]:
    """Busy, stolen and all clock ticks of all CPUs since boot; zeros off Linux."""
    try:
        with Path("/proc/stat").open() as stream:
            ticks = [int(field) for field in stream.readline().split()[1:9]]
    except OSError:
        return np.zeros(3, dtype=np.int64)
    user, nice, system, idle, iowait, irq, softirq, steal = ticks
    busy = user + nice + system + irq + softirq
    return np.array((busy, steal, busy + idle + iowait + steal))


def busy_share(seconds: float) -> float:
    """Share of all CPUs that was busy or stolen in the next seconds; 0 where nothing tells."""
    before = host_ticks()
    time.sleep(seconds)
    busy, stolen, total = (host_ticks() - before).tolist()
    return float((busy + stolen) / total) if total else 0.0
