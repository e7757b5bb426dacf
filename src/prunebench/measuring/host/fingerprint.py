"""What this host is, as far as it decides a latency: results of two fingerprints don't compare."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import re
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.common import cores
from prunebench.common.cores import affinity, read_kernel_file
from prunebench.common.errors import ConfigError
from prunebench.common.plain import Plain
from prunebench.common.versions import version_of
from prunebench.measuring.host.sensors import allowed, core_classes
from prunebench.measuring.session import SessionSettings

if TYPE_CHECKING:
    from prunebench.config.sections import CoreClass, LatencyConfig, Precision

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


@dataclass(frozen=True)
class Fingerprint(Plain):
    """One host, as a measuring process sees it; ``None`` where something is not readable.

    Instruction sets are those onnxruntime can use, cores those this process may run on, ``quota``
    the cores' worth of CPU time the cgroup allows (``None``: all), ``turbo`` whether the clock may
    go beyond its base, ``memory_gib`` that of the host or cgroup, rounded.
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

    def fields(self) -> dict[str, Any]:
        """As plain values."""
        return {**asdict(self), "isa": list(self.isa)}

    @property
    def flags(self) -> frozenset[str]:
        """Of ``cpu_flags`` those that name its instruction sets."""
        return frozenset(ISA_FLAGS[name] for name in self.isa)

    def digest(self) -> str:
        """First 12 hexadecimal digits of the SHA-256 of every field."""
        text = json.dumps(self.fields(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def differences(self, other: Fingerprint) -> list[str]:
        """What changed from this host to ``other``, one "field: old -> new" per field."""
        mine, theirs = self.fields(), other.fields()
        return [f"{key}: {mine[key]} -> {theirs[key]}" for key in mine if mine[key] != theirs[key]]


def fingerprint_for(config: LatencyConfig) -> Fingerprint:
    """This host's fingerprint under the section ``latency``, whose first cores decide a run."""
    return fingerprint(SessionSettings.of(config), config.cores[0])


def fingerprint(session: SessionSettings, cores_used: CoreClass = "all") -> Fingerprint:
    """Read this host's fingerprint; what it is measured with are these options, and cores."""
    flags = cpu_flags()
    khz = read_kernel_file(_cpufreq() / "cpuinfo_max_freq")
    return Fingerprint(
        cpu=cpu_model() if cores_used == "all" else f"{cpu_model()}, {cores_used} cores",
        isa=tuple(name for name, flag in ISA_FLAGS.items() if flag in flags),
        physical_cores=cores.physical_cores(),
        logical_cores=len(affinity()),
        quota=cores.cpu_quota(),
        governor=governor(),
        turbo=turbo(),
        max_mhz=None if khz is None else round(int(khz) / 1000),
        memory_gib=round(cores.memory_bytes() / 2**30),
        kernel=f"{platform.system()} {platform.release()}",
        container=in_container(),
        virtual="hypervisor" in flags,
        python=platform.python_version(),
        onnxruntime=importlib.metadata.version("onnxruntime"),
        numpy=importlib.metadata.version("numpy"),
        opencv=version_of("opencv"),
        session=session,
    )


def cpus_of(cores: CoreClass) -> tuple[int, ...] | None:
    """Logical CPUs of a class that this process may run on; ``None`` for all it may run on.

    Raises:
        ConfigError: This host has no such cores, or this process may not run on them.
    """
    if cores == "all":
        return None
    cpus = allowed(core_classes().get(cores, ()))
    if not cpus:
        what = f"this process has no {cores} cores to run on: the kernel names no such cores here"
        raise ConfigError(what, where="latency.cores", fix="set it to all")
    return cpus


def training_precision(flags: frozenset[str]) -> Precision:
    """What a CPU with these ``cpu_flags`` trains fastest in."""
    multiplies = flags & {"avx512_bf16", "amx_bf16", "bf16"}  # The last is ARM's.
    return "bfloat16" if multiplies else "float32"


def int8_obstacle(flags: frozenset[str]) -> str | None:
    """Why INT8 does not pay on a CPU with these ``cpu_flags``; ``None`` where it does.

    It pays where one instruction multiplies and adds four pairs: VNNI on x86, dot product on ARM.
    """
    if not flags:
        return "The extensions of this CPU are not readable: measure whether INT8 pays here."
    if flags & {"asimddp", "avx512_vnni", "avx_vnni"}:
        return None
    missing = "INT8 dot product (asimddp)" if "asimd" in flags else "VNNI"
    return f"This CPU has no {missing}: INT8 will not pay here."


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
    return read_kernel_file(_cpufreq() / "scaling_governor")


def turbo() -> bool | None:
    """Whether the clock may rise beyond its base, where the kernel tells."""
    cpus = Path("/sys/devices/system/cpu")
    no_turbo = read_kernel_file(cpus / "intel_pstate" / "no_turbo")
    if no_turbo is not None:
        return no_turbo == "0"
    boost = read_kernel_file(cpus / "cpufreq" / "boost")
    return None if boost is None else boost == "1"


def in_container() -> bool:
    """Whether the process runs in a container, by the marks the usual runtimes leave."""
    marks = (Path("/.dockerenv"), Path("/run/.containerenv"))
    if "container" in os.environ or any(mark.exists() for mark in marks):
        return True
    groups = read_kernel_file(Path("/proc/self/cgroup")) or ""
    return re.search(r"docker|kubepods|containerd|lxc|podman", groups) is not None


def _cpufreq() -> Path:
    return Path(f"/sys/devices/system/cpu/cpu{affinity()[0]}/cpufreq")


def _cpuinfo() -> str:
    return read_kernel_file(Path("/proc/cpuinfo")) or ""
