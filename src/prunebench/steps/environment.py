"""What a child process is told about threads, by its environment."""

from __future__ import annotations

import os
from collections.abc import Mapping

WAITING: Mapping[str, str] = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}
"""What a thread without work does: look for some for a few microseconds, then sleep.

Threads that sleep at once cost a third of a training's speed. Those that look for longer gain
nothing, and stand still on a busy host while one of them waits for its core
(``benchmarks/training_speed.py``). The first is for runtimes other than GNU's.
"""


def thread_environment(threads: int) -> dict[str, str]:
    """Environment that holds every numeric library of a child to ``threads`` threads."""
    counts = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {
        **dict.fromkeys(counts, str(threads)),
        **WAITING,
        "PRUNEBENCH_CHILD_THREADS": str(threads),
        # Ultralytics must never reach for the network or install packages behind our back.
        "YOLO_AUTOINSTALL": "false",
        "YOLO_OFFLINE": os.environ.get("YOLO_OFFLINE", "true"),
    }
