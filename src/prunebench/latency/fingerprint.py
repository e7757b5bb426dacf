"""What this host is, as far as it decides a latency: results of two fingerprints don't compare."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import os
import platform
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import psutil

from prunebench.records import Record
from prunebench.sections import LatencyConfig

AVX512_BLOCK: Final = 16
AVX2_BLOCK: Final = 8

ISA_FLAGS = {
    "AVX2": "avx2",
    "FMA": "fma",
    "AVX-512F": "avx512f",
    "AVX-512 VNNI": "avx512_vnni",
    "AVX VNNI": "avx_vnni",
    "AMX INT8": "amx_int8",
    "AMX BF16": "amx_bf16",
    "NEON": "asimd",
    "NEON dotprod": "asimddp",
    "NEON i8mm": "i8mm",
    "SVE": "sve",
}
"""Extensions onnxruntime's CPU kernels dispatch on, by their name in /proc/cpuinfo."""


class SessionSettings(Record):
    """The session options every variant was measured with; see ``LatencyConfig``."""

    graph_level: str
    execution_mode: str
    arena: bool
    flush_denormals: bool
    spinning: bool


class Fingerprint(Record):
    """One host, as a measuring process sees it.

    Attributes:
        cpu: Model name.
        isa: Instruction set extensions that onnxruntime can use.
        physical_cores: Physical cores this process may run on.
        logical_cores: Hardware threads this process may run on.
        quota: Cores' worth of CPU time the cgroup allows, ``None`` without a limit.
        governor: Frequency governor, ``None`` where not readable.
        turbo: Whether the clock may go beyond its base, ``None`` where not readable.
        max_mhz: Highest clock in MHz, ``None`` where not readable.
        memory_gib: Memory in GiB (2^30 bytes), or the cgroup's limit, rounded.
        kernel: Kernel name and release.
        container: Whether the process runs in a container.
        virtual: Whether the CPU says that it is virtual.
        python: Version of Python; the libraries' versions follow.
        session: The session options.
    """

    cpu: str
    isa: tuple[str, ...]
    physical_cores: int
    logical_cores: int
    quota: float | None
    governor: str | None
    turbo: bool | None
    max_mhz: int | None
    memory_gib: int
    kernel: str
    container: bool
    virtual: bool
    python: str
    onnxruntime: str
    numpy: str
    opencv: str
    session: SessionSettings

    def digest(self) -> str:
        """First 12 hexadecimal digits of the SHA-256 of every field."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def differences(self, other: Fingerprint) -> list[str]:
        """What changed from this host to ``other``, one "field: old -> new" per field."""
        mine, theirs = self.model_dump(mode="json"), other.model_dump(mode="json")
        return [f"{key}: {mine[key]} -> {theirs[key]}" for key in mine if mine[key] != theirs[key]]


def fingerprint(config: LatencyConfig) -> Fingerprint:
    """Read this host's fingerprint; ``config`` gives the session options."""
    flags = cpu_flags()
    return Fingerprint(
        cpu=cpu_model(),
        isa=tuple(name for name, flag in ISA_FLAGS.items() if flag in flags),
        physical_cores=physical_cores(),
        logical_cores=len(affinity()),
        quota=cpu_quota(),
        governor=governor(),
        turbo=turbo(),
        max_mhz=_max_mhz(),
        memory_gib=round(memory_bytes() / 2**30),
        kernel=f"{platform.system()} {platform.release()}",
        container=in_container(),
        virtual="hypervisor" in flags,
        python=platform.python_version(),
        onnxruntime=importlib.metadata.version("onnxruntime"),
        numpy=importlib.metadata.version("numpy"),
        opencv=_opencv_version(),
        session=session_settings(config),
    )


def session_settings(config: LatencyConfig) -> SessionSettings:
    """The session options of a configuration."""
    return SessionSettings.model_validate(
        {name: getattr(config, name) for name in SessionSettings.model_fields}
    )


def usable_cores() -> int:
    """Physical cores this process may keep busy: affinity, cpuset and CPU quota respected."""
    quota = cpu_quota()
    whole = math.inf if quota is None else max(1, math.floor(quota))
    return int(min(physical_cores(), whole))


def default_threads() -> tuple[int, ...]:
    """The thread counts measured when none are asked for: 1, and all usable cores."""
    return tuple(sorted({1, usable_cores()}))


def kernel_block() -> Literal[8, 16]:
    """Channels in a block of onnxruntime's convolution kernels on this CPU.

    MLAS lays channels out in blocks of 16 with AVX-512 and of 8 without.
    """
    return AVX512_BLOCK if "avx512f" in cpu_flags() else AVX2_BLOCK


def int8_obstacle(flags: frozenset[str]) -> str | None:
    """Why INT8 does not pay on a CPU, in one sentence; ``None`` where it does.

    It pays where one instruction multiplies and adds four pairs of 8-bit integers: VNNI on x86,
    the dot product of NEON on ARM.

    Args:
        flags: What ``cpu_flags`` says of it.
    """
    if not flags:
        return "The extensions of this CPU are not readable: measure whether INT8 pays here."
    if "asimd" in flags:
        if "asimddp" in flags:
            return None
        return "This CPU has no INT8 dot product (asimddp): INT8 will not pay here."
    if flags & {"avx512_vnni", "avx_vnni"}:
        return None
    return "This CPU has no VNNI: INT8 will not pay here."


def affinity() -> tuple[int, ...]:
    """Logical CPUs this process may run on (a cpuset narrows the affinity too)."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def physical_cores(root: Path = Path("/sys/devices/system/cpu")) -> int:
    """Distinct physical cores behind the logical CPUs this process may run on."""
    cores = set()
    for cpu in affinity():
        topology = root / f"cpu{cpu}" / "topology"
        package, core = _read(topology / "physical_package_id"), _read(topology / "core_id")
        if package is None or core is None:
            return min(len(affinity()), psutil.cpu_count(logical=False) or len(affinity()))
        cores.add((package, core))
    return len(cores)


def cpu_quota(
    membership: Path = Path("/proc/self/cgroup"), mounts: Path = Path("/proc/self/mountinfo")
) -> float | None:
    """Cores' worth of CPU time that control groups allow, the strictest level counts.

    Reads cgroup v2 (``cpu.max``) and v1 (``cpu.cfs_quota_us`` / ``cpu.cfs_period_us``).
    """
    quotas = []
    for folder, version in _cgroup_folders(membership, mounts, "cpu"):
        if version == 2:
            limit, _, period = (_read(folder / "cpu.max") or "max").partition(" ")
        else:
            limit = _read(folder / "cpu.cfs_quota_us") or "-1"
            period = _read(folder / "cpu.cfs_period_us") or ""
        if limit.isdigit() and period.isdigit() and int(period):
            quotas.append(int(limit) / int(period))
    return min(quotas, default=None)


def memory_bytes(
    membership: Path = Path("/proc/self/cgroup"), mounts: Path = Path("/proc/self/mountinfo")
) -> int:
    """Memory in bytes this process may use: the host's, or a control group's smaller limit."""
    limits = [int(psutil.virtual_memory().total)]
    for folder, version in _cgroup_folders(membership, mounts, "memory"):
        text = _read(folder / ("memory.max" if version == 2 else "memory.limit_in_bytes"))
        if text is not None and text.isdigit():
            limits.append(int(text))
    return min(limits)


def _cgroup_folders(
    membership: Path, mounts: Path, controller: str
) -> Iterator[tuple[Path, Literal[1, 2]]]:
    """Folders of the process's control group and its ancestors, with the cgroup version."""
    for line in (_read(membership) or "").splitlines():
        _, controllers, group = line.split(":", 2)
        version: Literal[1, 2] = 1 if controllers else 2
        if version == 1 and controller not in controllers.split(","):
            continue
        mount = _cgroup_mount(mounts, version, controller)
        if mount is None:
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
    for line in (_read(mounts) or "").splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        wanted = "cgroup2" if version == 2 else "cgroup"
        if kind == wanted and (version == 2 or controller in options.split(",")):
            fields = before.split(" ")
            return Path(fields[4]), fields[3]
    return None


def cpu_model() -> str:
    """Model name of the CPU."""
    if sys.platform == "linux":
        for line in _cpuinfo().splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model"):
                return value.strip()
    return platform.processor() or platform.machine()


def cpu_flags() -> frozenset[str]:
    """Feature flags of the CPU as the kernel names them; empty where it names none."""
    match = re.search(r"^(?:flags|Features)\s*:(.*)$", _cpuinfo(), re.MULTILINE)
    return frozenset(match.group(1).split()) if match else frozenset()


def governor() -> str | None:
    """Frequency governor of the first CPU this process may run on."""
    return _read(_cpufreq() / "scaling_governor")


def turbo() -> bool | None:
    """Whether the clock may rise beyond its base, where the kernel tells."""
    cpus = Path("/sys/devices/system/cpu")
    no_turbo = _read(cpus / "intel_pstate" / "no_turbo")
    if no_turbo is not None:
        return no_turbo == "0"
    boost = _read(cpus / "cpufreq" / "boost")
    return None if boost is None else boost == "1"


def in_container() -> bool:
    """Whether the process runs in a container, by the marks the usual runtimes leave."""
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        return True
    if "container" in os.environ:
        return True
    groups = _read(Path("/proc/self/cgroup")) or ""
    return re.search(r"docker|kubepods|containerd|lxc|podman", groups) is not None


def _opencv_version() -> str:
    # The import name is cv2 under either distribution; only one of them is installed.
    for name in ("opencv-python-headless", "opencv-python"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown"


def _max_mhz() -> int | None:
    khz = _read(_cpufreq() / "cpuinfo_max_freq")
    return None if khz is None else round(int(khz) / 1000)


def _cpufreq() -> Path:
    return Path(f"/sys/devices/system/cpu/cpu{affinity()[0]}/cpufreq")


def _cpuinfo() -> str:
    return _read(Path("/proc/cpuinfo")) or ""


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
