"""A control group of this process, whose CPU quota can be set while it works."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PERIOD_US = 5000
"""A quota is at least a millisecond of it; what takes longer than its quota is stretched."""


@contextlib.contextmanager
def cpu_quota_group(root: Path = Path("/sys/fs/cgroup")) -> Iterator[Callable[[float], None]]:
    """Be in a group of its own; gives what sets its quota, in cores."""
    first = (root / "cpu").is_dir()  # The first version has a tree per controller.
    home = root / "cpu" if first else root
    group = home / f"prunebench-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "cgroup.procs").write_text(str(os.getpid()))
    except OSError as error:
        with contextlib.suppress(OSError):
            group.rmdir()
        pytest.skip(f"this host lets no control group be made: {error}")

    def set_quota(cores: float) -> None:
        quota = int(cores * PERIOD_US)
        if first:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (group / "cpu.max").write_text(f"{quota} {PERIOD_US}")

    try:
        yield set_quota
    finally:
        (home / "cgroup.procs").write_text(str(os.getpid()))
        group.rmdir()
