"""Where a training keeps decoded images: in memory, on disk or nowhere."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import psutil

from prunebench.common.cores import memory_bytes
from prunebench.config.sections import Cache


def choose_cache(
    asked: Cache | str, shapes: Sequence[tuple[int, int]], imgsz: int, folder: Path
) -> Cache:
    """Where images of these shapes (height, width) are kept decoded.

    ``auto`` is memory, where they take half of what is free at most, else the disk, likewise. What
    is asked for and has no room at all is not kept.
    """
    resized = sum(3 * round(h * w * (imgsz / max(h, w)) ** 2) for h, w in shapes)
    whole = sum(3 * h * w for h, w in shapes)
    memory = min(psutil.virtual_memory().available, memory_bytes())
    share = 0.5 if asked == "auto" else 1
    if asked in ("auto", "ram") and resized <= memory * share:
        return "ram"
    if asked in ("auto", "disk") and whole <= free_bytes(folder) * share:
        return "disk"
    return "none"


def free_bytes(folder: Path) -> int:
    """What is free on the disk of a folder that may not be there yet."""
    base = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    return shutil.disk_usage(base).free
