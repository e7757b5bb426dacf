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
def quota_group(
    root: Path = Path("/sys/fs/cgroup"), period_us: int = PERIOD_US
) -> Iterator[tuple[Path, Callable[[float], None]]]:
    """A group to be in: the file that takes the number of a process, and what sets its quota.

    OSError where this host lets none be made.
    """
    first = (root / "cpu").is_dir()  # The first version has a tree per controller.
    home = root / "cpu" if first else root
    group = home / f"prunebench-test-{os.getpid()}"
    group.mkdir()

    def set_quota(cores: float) -> None:
        quota = int(cores * period_us)
        if first:
            (group / "cpu.cfs_period_us").write_text(str(period_us))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (group / "cpu.max").write_text(f"{quota} {period_us}")

    try:
        yield group / "cgroup.procs", set_quota
    finally:
        for process in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):  # It has ended meanwhile.
                (home / "cgroup.procs").write_text(process)
        group.rmdir()


@contextlib.contextmanager
def cpu_quota_group() -> Iterator[Callable[[float], None]]:
    """Be in a group of its own; gives what sets its quota, in cores."""
    with contextlib.ExitStack() as stack:
        try:
            processes, set_quota = stack.enter_context(quota_group())
            processes.write_text(str(os.getpid()))
        except OSError as error:
            pytest.skip(f"this host lets no control group be made: {error}")
        yield set_quota
