"""What on this machine would falsify a measurement."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import psutil

from prunebench.common.cores import (
    affinity,
    cpu_quota,
    memory_bytes,
    physical_cores,
    read_kernel_file,
    usable_cores,
)
from prunebench.common.errors import EnvironmentMismatch
from prunebench.common.versions import check_versions, installed_versions
from prunebench.config.sections import LatencyConfig
from prunebench.measuring.host.block import Numbers, measure_block
from prunebench.measuring.host.emulation import IN_WORDS, emulator
from prunebench.measuring.host.fingerprint import (
    cpu_flags,
    cpu_model,
    governor,
    in_container,
    int8_obstacle,
    turbo,
)

Level = Literal["ok", "warn", "bad"]
Seen = tuple[Level, str]

BUSY_WARN = 0.05
BUSY_BAD = 0.25
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
    """One thing looked at, in a sentence."""

    level: Level
    topic: str
    sentence: str


def examine() -> list[Finding]:
    """Look at what decides whether latencies here can be believed; takes half a second.

    The first time on a host it times convolutions, for seconds.
    """
    topics = {
        "load": [_load()],
        "cores": [_cores()],
        "cpu quota": [_quota()],
        "governor": [_governor()],
        "turbo": [_turbo()],
        "environment": [_thread_variables()],
        "instructions": _instructions(),
        "block": [_block()],
        "denormals": [_denormals()],
        "memory": [_memory()],
        "swap": [_swap()],
        "host": [_surroundings()],
        "power": [_battery()],
        "clock": [_clock()],
        "versions": [_versions()],
    }
    return [Finding(level, topic, text) for topic, seen in topics.items() for level, text in seen]


def _load() -> Seen:
    share = psutil.cpu_percent(interval=0.5) / 100
    sentence = (
        f"Other processes keep {share:.0%} of all CPUs busy now, "
        f"load average {os.getloadavg()[0]:.1f}"
    )
    if share <= BUSY_WARN:
        return "ok", f"{sentence}."
    level: Level = "bad" if share > BUSY_BAD else "warn"
    return level, f"{sentence}: stop them before you measure."


def _cores() -> Seen:
    mine, host = len(affinity()), os.cpu_count() or 1
    cores = physical_cores()
    sentence = f"This process may use {cores} physical cores ({mine} of {host} logical CPUs)"
    if mine < host:
        return "warn", f"{sentence}: an affinity or cpuset keeps it off the rest."
    if mine > cores:
        why = "hardware threads share cores, so a neighbour's load slows this one"
        return "warn", f"{sentence}: {why}."
    return "ok", f"{sentence}."


def _quota() -> Seen:
    if (quota := cpu_quota()) is None:
        return "ok", "No control group limits the CPU time."
    sentence = f"A control group allows {quota:g} cores of CPU time"
    if quota < 1 or quota != int(quota):
        return "bad", (
            f"{sentence}: a share of a core is granted by stopping the process in every period, "
            "set a whole number."
        )
    return "warn", f"{sentence}: more threads than {usable_cores()} are throttled."


def _governor() -> Seen:
    if (name := governor()) is None:
        return "warn", "The frequency governor is not readable: the clock may change."
    if name == "performance":
        return "ok", "The frequency governor is performance."
    return "warn", (
        f"The frequency governor is {name}: paced frames find a sleeping clock, "
        "set performance unless the device ships like this."
    )


def _turbo() -> Seen:
    if (state := turbo()) is None:
        return "warn", "Whether the clock may boost is not readable."
    if state:
        return "warn", "The clock may boost: it falls when the machine is warm or busy."
    return "ok", "The clock does not boost."


def _thread_variables() -> Seen:
    found = [f"{name}={os.environ[name]}" for name in THREAD_VARIABLES if name in os.environ]
    if not found:
        return "ok", "No thread variable is set."
    return "warn", f"{', '.join(found)} is set: measuring sets its own, other programs do not."


def _instructions() -> list[Seen]:
    flags = cpu_flags()
    if not flags:
        return [("warn", f"{cpu_model()}: its extensions are not readable.")]
    obstacle = int8_obstacle(flags)
    slow_int8: list[Seen] = [] if obstacle is None else [("warn", obstacle)]
    if "asimd" in flags:
        return slow_int8 or [("ok", f"{cpu_model()} has NEON and its INT8 dot product.")]
    if "avx2" not in flags:
        return [("bad", f"{cpu_model()} lacks AVX2: onnxruntime runs slowly."), *slow_int8]
    wide = "AVX-512" if "avx512f" in flags else "AVX2 but not AVX-512"
    return [("ok", f"{cpu_model()} has {wide}."), *slow_int8]


def _block() -> Seen:
    found = [measure_block(LatencyConfig(), numbers) for numbers in get_args(Numbers)]
    widths = " and ".join(f"{block.channels} in {block.numbers}" for block in found)
    sentence = f"Timing convolutions, channels pay in multiples of {widths}"
    if all(block.settled for block in found):
        return "ok", f"{sentence}."
    return "warn", f"{sentence}, but the timings do not agree with each other."


def _denormals() -> Seen:
    if "GenuineIntel" in (read_kernel_file(Path("/proc/cpuinfo")) or ""):
        fix = "set latency.flush_denormals if a variant has any"
        return "warn", f"Denormal weights slow Intel CPUs: {fix}."
    return "ok", "This CPU is not known to slow down on denormal numbers."


def _memory() -> Seen:
    total = memory_bytes() / 2**30
    free = min(psutil.virtual_memory().available / 2**30, total)
    sentence = f"{free:.1f} of {total:.1f} GiB of memory are available"
    if free < LOW_MEMORY_GIB:
        return "warn", f"{sentence}: the system may end a training that needs more."
    return "ok", f"{sentence}."


def _swap() -> Seen:
    if (used := psutil.swap_memory().used / 2**20) >= 1:
        return "warn", f"{used:.0f} MiB are swapped out: a first inference may wait for disk."
    return "ok", "No memory is swapped out."


def _surroundings() -> Seen:
    if (program := emulator()) is not None:
        return "bad", f"{IN_WORDS.format(program)}."
    container = in_container()
    if "hypervisor" in cpu_flags():
        where = "a virtual machine in a container" if container else "a virtual machine"
        return "warn", f"This is {where}: neighbours may take CPU time, watch the steal."
    if container:
        return "warn", "This is a container: other containers share the CPU's caches."
    return "ok", "No hypervisor and no container is visible."


def _battery() -> Seen:
    # psutil has no such function on platforms without power supplies.
    battery = getattr(psutil, "sensors_battery", lambda: None)()
    if battery is not None and battery.power_plugged is False:
        return "bad", "This machine runs on battery: plug it in."
    return "ok", "This machine does not run on battery."


def _clock() -> Seen:
    clocks = Path("/sys/devices/system/clocksource/clocksource0")
    name = read_kernel_file(clocks / "current_clocksource")
    if not name:
        return "ok", "The clock source is not readable; the clock is monotonic."
    if name in GOOD_CLOCKS:
        return "ok", f"The clock source is {name}."
    return "warn", f"The clock source is {name}: reading it takes microseconds, prefer tsc."


def _versions() -> Seen:
    try:
        check_versions()
    except EnvironmentMismatch as error:
        return "bad", str(error)
    found = ", ".join(f"{name} {version}" for name, version in installed_versions().items())
    return "ok", f"Tested versions are installed: {found}."
