"""The cores and the memory this process may use: affinity, cpusets and control groups respected."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal


def usable_cores() -> int:
    """Physical cores this process may keep busy: affinity, cpuset and CPU quota respected."""
    quota = cpu_quota()
    return physical_cores() if quota is None else min(physical_cores(), max(1, int(quota)))


def default_threads() -> tuple[int, ...]:
    """The thread counts measured when none are asked for: 1, and all usable cores."""
    return tuple(sorted({1, usable_cores()}))


def affinity() -> tuple[int, ...]:
    """Logical CPUs this process may run on (a cpuset narrows the affinity too)."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


ALLOWED = affinity()
"""The CPUs of this process before torch is imported, whose OpenMP may bind its threads to one."""


@contextlib.contextmanager
def running_on(cpus: Iterable[int] | None) -> Iterator[None]:
    """Let this thread, and those it starts in the block, run on these CPUs; ``None``: as it does.

    A thread inherits the CPUs of the one that starts it.
    """
    if cpus is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    bound = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, bound)


def physical_cores(root: Path = Path("/sys/devices/system/cpu")) -> int:
    """Distinct physical cores behind the logical CPUs this process may run on."""
    cores = set()
    for cpu in affinity():
        topology = root / f"cpu{cpu}" / "topology"
        place = [read_kernel_file(topology / f) for f in ("physical_package_id", "core_id")]
        if None in place:
            return len(affinity())
        cores.add(tuple(place))
    return len(cores)


def cpu_quota(
    membership: Path = Path("/proc/self/cgroup"), mounts: Path = Path("/proc/self/mountinfo")
) -> float | None:
    """Cores' worth of CPU time that control groups (v2 or v1) allow, the strictest level counts."""
    quotas = []
    for folder, version in _cgroup_folders(membership, mounts, "cpu"):
        if version == 2:
            limit, _, period = (read_kernel_file(folder / "cpu.max") or "max").partition(" ")
        else:
            limit = read_kernel_file(folder / "cpu.cfs_quota_us") or "-1"
            period = read_kernel_file(folder / "cpu.cfs_period_us") or ""
        if limit.isdigit() and period.isdigit() and int(period):
            quotas.append(int(limit) / int(period))
    return min(quotas, default=None)


def memory_bytes(
    membership: Path = Path("/proc/self/cgroup"), mounts: Path = Path("/proc/self/mountinfo")
) -> int:
    """Memory in bytes this process may use: the host's, or a control group's smaller limit."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for folder, version in _cgroup_folders(membership, mounts, "memory"):
        name = "memory.max" if version == 2 else "memory.limit_in_bytes"
        text = read_kernel_file(folder / name) or ""
        if text.isdigit():
            limits.append(int(text))
    return min(limits)


def _cgroup_folders(
    membership: Path, mounts: Path, controller: str
) -> Iterator[tuple[Path, Literal[1, 2]]]:
    """Folders of the process's control group and its ancestors, with the cgroup version."""
    for line in (read_kernel_file(membership) or "").splitlines():
        _, controllers, group = line.split(":", 2)
        version: Literal[1, 2] = 1 if controllers else 2
        if version == 1 and controller not in controllers.split(","):
            continue
        if (mount := _cgroup_mount(mounts, version, controller)) is None:
            continue
        point, mounted_root = mount
        # In a container the mount shows a part of the tree only: paths count from its root.
        inner = group if mounted_root == "/" else group.removeprefix(mounted_root)
        folder = point / inner.strip("/")
        for level in (folder, *folder.parents):
            yield level, version
            if level == point:
                break


def _cgroup_mount(mounts: Path, version: int, controller: str) -> tuple[Path, str] | None:
    for line in (read_kernel_file(mounts) or "").splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        wanted = "cgroup2" if version == 2 else "cgroup"
        if kind == wanted and (version == 2 or controller in options.split(",")):
            fields = before.split(" ")
            return Path(fields[4]), fields[3]
    return None


def read_kernel_file(path: Path) -> str | None:
    """What the kernel says in a file, ``None`` where it has none or does not let it be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
