"""How many measuring processes a host has memory for, each with a model loaded."""

from __future__ import annotations

from pathlib import Path

from prunebench.common.cores import memory_bytes, read_kernel_file
from prunebench.measuring.latency.together import MOST_AT_ONCE

SHARE = 0.8
"""Of the memory that is available, which the processes of a round may take together."""

ROOMY_MB = 1000.0
"""With as much for each process, nobody looks how much one takes."""


def available_mb(meminfo: Path = Path("/proc/meminfo")) -> float:
    """Memory that programs may take now, in 10^6 bytes, of the host or its control group."""
    whole = memory_bytes() / 1e6
    for line in (read_kernel_file(meminfo) or "").splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return min(whole, int(value.split()[0]) * 1024 / 1e6)
    return whole


def fitting(available: float, largest: float) -> int:
    """Processes of at most ``largest`` that fit into what is available, both in 10^6 bytes."""
    return max(1, min(MOST_AT_ONCE, int(SHARE * available / largest)))
