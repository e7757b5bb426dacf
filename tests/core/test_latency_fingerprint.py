"""The host's fingerprint; control groups and topologies are read from made-up files."""

from __future__ import annotations

import os
from pathlib import Path

import onnxruntime
import pytest

from prunebench.cores import cpu_quota, default_threads, memory_bytes, physical_cores, usable_cores
from prunebench.latency import fingerprint as module
from prunebench.latency.fingerprint import fingerprint, int8_obstacle, kernel_block
from prunebench.sections import LatencyConfig


def test_it_is_stable_and_says_what_it_should() -> None:
    one, two = fingerprint(LatencyConfig()), fingerprint(LatencyConfig())
    assert one == two
    assert one.digest() == two.digest()
    assert one.onnxruntime == onnxruntime.__version__
    assert 1 <= one.physical_cores <= one.logical_cores <= (os.cpu_count() or 1)
    assert one.differences(two) == []


def test_session_options_are_part_of_it() -> None:
    plain, spinning = fingerprint(LatencyConfig()), fingerprint(LatencyConfig(spinning=True))
    assert plain.digest() != spinning.digest()
    (difference,) = plain.differences(spinning)
    assert difference.startswith("session: ")


def test_another_library_version_is_named() -> None:
    old = fingerprint(LatencyConfig())
    new = old.model_copy(update={"onnxruntime": "9.9.9"})
    assert old.differences(new) == [f"onnxruntime: {old.onnxruntime} -> 9.9.9"]


def test_kernel_block_is_the_one_of_the_widest_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cpu_flags", lambda: frozenset({"avx2", "avx512f"}))
    assert kernel_block() == 16
    monkeypatch.setattr(module, "cpu_flags", lambda: frozenset({"avx2"}))
    assert kernel_block() == 8


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"avx2", "avx512f", "avx512_vnni"}, None),
        ({"avx2", "avx_vnni"}, None),
        ({"avx2", "avx512f"}, "This CPU has no VNNI: INT8 will not pay here."),
        ({"asimd", "asimddp"}, None),
        ({"asimd"}, "This CPU has no INT8 dot product (asimddp): INT8 will not pay here."),
        (set(), "The extensions of this CPU are not readable: measure whether INT8 pays here."),
    ],
)
def test_int8_pays_where_integers_have_a_dot_product(flags: set[str], said: str | None) -> None:
    assert int8_obstacle(frozenset(flags)) == said


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
