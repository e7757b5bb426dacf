"""What on this machine would falsify a measurement."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, NamedTuple

import psutil

from prunebench.common.cores import affinity, cpu_quota, memory_bytes, physical_cores, usable_cores
from prunebench.common.errors import EnvironmentMismatch
from prunebench.common.versions import check_versions, installed_versions
from prunebench.measuring.host.fingerprint import (
    cpu_flags,
    cpu_model,
    governor,
    in_container,
    int8_obstacle,
    kernel_block,
    turbo,
)

Level = Literal["ok", "warn", "bad"]

BUSY_WARN = 0.05
BUSY_BAD = 0.25
LOAD_INTERVAL_S = 0.5
LOW_MEMORY_GIB = 2.0

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "KMP_AFFINITY",
    "GOMP_SPINCOUNT",
    "GOMP_CPU_AFFINITY",
    "ORT_DISABLE_ALL_OPTIMIZATION",
)
GOOD_CLOCKS = ("tsc", "arch_sys_counter", "kvm-clock")


class Finding(NamedTuple):
    """One thing looked at: how bad it is, what it is about, and a sentence."""

    level: Level
    topic: str
    sentence: str


def examine() -> list[Finding]:
    """Look at everything that decides whether latencies of this machine can be believed.

    Takes half a second, in which the load is observed.
    """
    return [
        _load(),
        _cores(),
        _quota(),
        _governor(),
        _turbo(),
        *_thread_variables(),
        *_instructions(),
        _denormals(),
        _memory(),
        _swap(),
        _surroundings(),
        _battery(),
        _clock(),
        _versions(),
    ]


def _load() -> Finding:
    share = psutil.cpu_percent(interval=LOAD_INTERVAL_S) / 100
    sentence = (
        f"Other processes keep {share:.0%} of all CPUs busy now, "
        f"load average {os.getloadavg()[0]:.1f}"
    )
    if share <= BUSY_WARN:
        return Finding("ok", "load", f"{sentence}.")
    level: Level = "bad" if share > BUSY_BAD else "warn"
    return Finding(level, "load", f"{sentence}: stop them before you measure.")


def _cores() -> Finding:
    mine, host = len(affinity()), os.cpu_count() or 1
    cores = physical_cores()
    sentence = f"This process may use {cores} physical cores ({mine} of {host} logical CPUs)"
    if mine < host:
        return Finding("warn", "cores", f"{sentence}: an affinity or cpuset keeps it off the rest.")
    if mine > cores:
        return Finding(
            "warn",
            "cores",
            f"{sentence}: hardware threads share cores, so a neighbour's load slows this one.",
        )
    return Finding("ok", "cores", f"{sentence}.")


def _quota() -> Finding:
    quota = cpu_quota()
    if quota is None:
        return Finding("ok", "cpu quota", "No control group limits the CPU time.")
    sentence = f"A control group allows {quota:g} cores of CPU time"
    if quota < 1 or quota != int(quota):
        return Finding(
            "bad",
            "cpu quota",
            f"{sentence}: a share of a core is granted by stopping the process in every period, "
            "set a whole number.",
        )
    return Finding(
        "warn", "cpu quota", f"{sentence}: more threads than {usable_cores()} are throttled."
    )


def _governor() -> Finding:
    name = governor()
    if name is None:
        return Finding(
            "warn", "governor", "The frequency governor is not readable: the clock may change."
        )
    if name == "performance":
        return Finding("ok", "governor", "The frequency governor is performance.")
    return Finding(
        "warn",
        "governor",
        f"The frequency governor is {name}: paced frames find a sleeping clock, "
        "set performance unless the device ships like this.",
    )


def _turbo() -> Finding:
    state = turbo()
    if state is None:
        return Finding("warn", "turbo", "Whether the clock may boost is not readable.")
    if state:
        return Finding(
            "warn", "turbo", "The clock may boost: it falls when the machine is warm or busy."
        )
    return Finding("ok", "turbo", "The clock does not boost.")


def _thread_variables() -> list[Finding]:
    found = [f"{name}={os.environ[name]}" for name in THREAD_VARIABLES if name in os.environ]
    if not found:
        return [Finding("ok", "environment", "No thread variable is set.")]
    return [
        Finding(
            "warn",
            "environment",
            f"{', '.join(found)} is set: measuring sets its own, other programs do not.",
        )
    ]


def _instructions() -> list[Finding]:
    flags = cpu_flags()
    if not flags:
        return [Finding("warn", "instructions", f"{cpu_model()}: its extensions are not readable.")]
    obstacle = int8_obstacle(flags)
    slow_int8 = [] if obstacle is None else [Finding("warn", "instructions", obstacle)]
    if "asimd" in flags:
        sentence = f"{cpu_model()} has NEON and its INT8 dot product."
        return slow_int8 or [Finding("ok", "instructions", sentence)]
    findings = []
    if "avx2" not in flags:
        findings.append(
            Finding("bad", "instructions", f"{cpu_model()} lacks AVX2: onnxruntime runs slowly.")
        )
    else:
        wide = "AVX-512" if kernel_block() == 16 else "AVX2 but not AVX-512"
        findings.append(
            Finding(
                "ok",
                "instructions",
                f"{cpu_model()} has {wide}: kernels work in blocks of {kernel_block()} channels.",
            )
        )
    return findings + slow_int8


def _denormals() -> Finding:
    if "GenuineIntel" in _read("/proc/cpuinfo"):
        return Finding(
            "warn",
            "denormals",
            "Denormal weights slow Intel CPUs: set latency.flush_denormals if a variant has any.",
        )
    return Finding("ok", "denormals", "This CPU is not known to slow down on denormal numbers.")


def _memory() -> Finding:
    total = memory_bytes() / 2**30
    free = min(psutil.virtual_memory().available / 2**30, total)
    sentence = f"{free:.1f} of {total:.1f} GiB of memory are available"
    if free < LOW_MEMORY_GIB:
        return Finding("warn", "memory", f"{sentence}: training may be ended for want of it.")
    return Finding("ok", "memory", f"{sentence}.")


def _swap() -> Finding:
    used = psutil.swap_memory().used / 2**20
    if used >= 1:
        return Finding(
            "warn", "swap", f"{used:.0f} MiB are swapped out: a first inference may wait for disk."
        )
    return Finding("ok", "swap", "No memory is swapped out.")


def _surroundings() -> Finding:
    virtual, container = "hypervisor" in cpu_flags(), in_container()
    if virtual:
        inside = " in a container" if container else ""
        return Finding(
            "warn",
            "host",
            f"This is a virtual machine{inside}: neighbours may take CPU time, watch the steal.",
        )
    if container:
        return Finding(
            "warn", "host", "This is a container: other containers share the CPU's caches."
        )
    return Finding("ok", "host", "No hypervisor and no container is visible.")


def _battery() -> Finding:
    # psutil has no such function on platforms without power supplies.
    read = getattr(psutil, "sensors_battery", None)
    battery = None if read is None else read()
    if battery is not None and battery.power_plugged is False:
        return Finding("bad", "power", "This machine runs on battery: plug it in.")
    return Finding("ok", "power", "This machine does not run on battery.")


def _clock() -> Finding:
    name = _read("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    if not name:
        return Finding("ok", "clock", "The clock source is not readable; the clock is monotonic.")
    if name in GOOD_CLOCKS:
        return Finding("ok", "clock", f"The clock source is {name}.")
    return Finding(
        "warn", "clock", f"The clock source is {name}: reading it takes microseconds, prefer tsc."
    )


def _versions() -> Finding:
    try:
        check_versions()
    except EnvironmentMismatch as error:
        return Finding("bad", "versions", str(error))
    found = ", ".join(f"{name} {version}" for name, version in installed_versions().items())
    return Finding("ok", "versions", f"Tested versions are installed: {found}.")


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
