"""Cores and memory; control groups and topologies are read from made-up files."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from prunebench.common import cores as module
from prunebench.common.cores import (
    affinity,
    cpu_quota,
    default_threads,
    memory_bytes,
    physical_cores,
    running_on,
    usable_cores,
)


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_quota_of_cgroup_v2_is_the_strictest_ancestor(tmp_path: Path) -> None:
    root = tmp_path / "cg"
    membership = _write(tmp_path / "cgroup", "0::/jobs/mine\n")
    mounts = _write(tmp_path / "mountinfo", f"30 24 0:26 / {root} rw - cgroup2 cgroup2 rw\n")
    _write(root / "jobs" / "mine" / "cpu.max", "400000 100000\n")
    _write(root / "jobs" / "cpu.max", "150000 100000\n")
    _write(root / "jobs" / "memory.max", "1073741824\n")
    _write(root / "jobs" / "mine" / "memory.max", "max\n")
    assert cpu_quota(membership, mounts) == 1.5
    assert memory_bytes(membership, mounts) == 2**30


def test_quota_of_cgroup_v1_in_a_container(tmp_path: Path) -> None:
    root = tmp_path / "cpu"
    membership = _write(tmp_path / "cgroup", "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n")
    mounts = _write(
        tmp_path / "mountinfo",
        f"30 24 0:26 /docker/abc {root} ro - cgroup cgroup rw,cpu,cpuacct\n",
    )
    _write(root / "cpu.cfs_quota_us", "200000\n")
    _write(root / "cpu.cfs_period_us", "100000\n")
    assert cpu_quota(membership, mounts) == 2
    _write(root / "cpu.cfs_quota_us", "-1\n")
    assert cpu_quota(membership, mounts) is None


def test_hardware_threads_of_one_core_count_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "affinity", lambda: (0, 1, 2, 5))
    for cpu, core in {0: 0, 1: 1, 2: 0, 3: 1, 5: 0}.items():
        package = 1 if cpu == 5 else 0
        _write(tmp_path / f"cpu{cpu}" / "topology" / "core_id", f"{core}\n")
        _write(tmp_path / f"cpu{cpu}" / "topology" / "physical_package_id", f"{package}\n")
    assert physical_cores(tmp_path) == 3


@pytest.mark.parametrize(
    ("cores", "quota", "usable", "threads"),
    [
        (4, None, 4, (1, 4)),
        (4, 2.5, 2, (1, 2)),
        (4, 0.5, 1, (1,)),
        (1, None, 1, (1,)),
    ],
)
def test_default_threads_are_one_and_all_usable_cores(
    monkeypatch: pytest.MonkeyPatch,
    cores: int,
    quota: float | None,
    usable: int,
    threads: tuple[int, ...],
) -> None:
    monkeypatch.setattr(module, "physical_cores", lambda: cores)
    monkeypatch.setattr(module, "cpu_quota", lambda: quota)
    assert usable_cores() == usable
    assert default_threads() == threads


def test_affinity_narrows_the_cores() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux binds a thread to a CPU")
def test_a_thread_that_is_bound_starts_others_that_are_not() -> None:
    seen: list[tuple[int, ...]] = []
    bound_before = affinity()

    def note() -> None:
        seen.append(affinity())

    def bound_to_one() -> None:
        os.sched_setaffinity(0, affinity()[:1])
        with running_on(bound_before):
            inner = threading.Thread(target=note)
            inner.start()
            inner.join()
        note()

    outer = threading.Thread(target=bound_to_one)
    outer.start()
    outer.join()
    assert seen == [bound_before, bound_before[:1]]
    with running_on(None):
        assert affinity() == bound_before
