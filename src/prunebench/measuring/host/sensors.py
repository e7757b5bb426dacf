"""What the kernel tells of a core while it works: its class, clock, heat, throttling and energy.

Runs on a device with Python alone; ``root`` is where sysfs is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

SYS = Path("/sys")
THROTTLED_NOW = 0xF  # Of a Raspberry Pi's flags: under-voltage, capped, throttled, too hot.


def core_classes(root: Path = SYS) -> dict[str, tuple[int, ...]]:
    """CPUs of the class ``big`` (the largest capacity) and ``little``; none where all are alike."""
    capacity: dict[int, int] = {}
    for folder in (root / "devices/system/cpu").glob("cpu[0-9]*"):
        found = _number(folder / "cpu_capacity")
        if found is not None:
            capacity[int(folder.name[3:])] = int(found)
    if len(set(capacity.values())) < 2:
        return {}
    ends = {"big": max(capacity.values()), "little": min(capacity.values())}
    return {
        name: tuple(sorted(cpu for cpu, own in capacity.items() if own == end))
        for name, end in ends.items()
    }


class Sensors:
    """A look after each turn: what is not readable is ``None``, and costs nothing."""

    def __init__(self, root: Path = SYS) -> None:
        self.cpus: set[int] = set()
        self.mhz: list[float | None] = []
        self.celsius: list[float | None] = []
        self.throttled = 0
        self._cpus = root / "devices/system/cpu"
        self._zones = sorted((root / "class/thermal").glob("thermal_zone*/temp"))
        flags = [*self._firmware(root, "*/*"), *self._firmware(root, "*")]
        self._flags = flags[0] if flags else None
        self._vcgencmd = None if self._flags else shutil.which("vcgencmd")
        self._counters = sorted(self._cpus.glob("cpu*/thermal_throttle/*_throttle_count"))
        self._counted = self._throttlings()

    @staticmethod
    def _firmware(root: Path, depth: str) -> list[Path]:
        return sorted((root / "devices/platform").glob(f"{depth}/get_throttled"))

    def look(self) -> None:
        """Note the core this thread is on, its clock, the hottest zone, and throttling."""
        cpu = current_cpu()
        khz = None
        if cpu is not None:
            self.cpus.add(cpu)
            khz = _number(self._cpus / f"cpu{cpu}" / "cpufreq/scaling_cur_freq")
        self.mhz.append(None if khz is None else khz / 1000)
        heat = [found for zone in self._zones if (found := _number(zone)) is not None]
        self.celsius.append(max(heat) / 1000 if heat else None)
        before, self._counted = self._counted, self._throttlings()
        self.throttled += self._counted > before or self._throttled_now()

    def _throttlings(self) -> float:
        """How often this host was throttled so far, where a counter says it (x86)."""
        return sum(_number(path) or 0 for path in self._counters)

    def _throttled_now(self) -> bool:
        """Whether a Raspberry Pi says that it is throttled at this moment."""
        if self._flags is not None:
            text = _text(self._flags)
        elif self._vcgencmd is not None:
            asked = [self._vcgencmd, "get_throttled"]
            ended = subprocess.run(asked, capture_output=True, text=True, check=False)
            text = ended.stdout.strip().rpartition("=")[2]
        else:
            return False
        try:
            return bool(int(text or "0", 16) & THROTTLED_NOW)
        except ValueError:
            return False


class EnergyMeter:
    """Joules that all CPU packages took since the last look, by RAPL; ``None`` where unreadable."""

    def __init__(self, root: Path = SYS) -> None:
        # "intel-rapl:0" is a package, "intel-rapl:0:1" a part of it; AMD's are named alike.
        packages = (root / "class/powercap").glob("intel-rapl:*")
        self._packages = [p for p in sorted(packages) if p.name.count(":") == 1]
        self._before = self._look()

    def since(self) -> float | None:
        """Joules since this was last asked, or since the start."""
        before, self._before = self._before, self._look()
        if not before or before.keys() != self._before.keys():
            return None
        joules = 0.0
        for package, (now, most) in self._before.items():
            spent = now - before[package][0]
            joules += (spent if spent >= 0 else spent + most) / 1e6
        return joules

    def _look(self) -> dict[str, tuple[float, float]]:
        """Microjoules so far and where the counter starts anew, by package."""
        found = {}
        for package in self._packages:
            now, most = _number(package / "energy_uj"), _number(package / "max_energy_range_uj")
            if now is None or most is None:
                return {}
            found[package.name] = (now, most)
        return found


def current_cpu() -> int | None:
    """The CPU this thread runs on; ``None`` off Linux."""
    text = _text(Path("/proc/thread-self/stat"))
    # The name of the program, in brackets, may have spaces; the CPU is the 37th field after it.
    return None if text is None else int(text.rpartition(")")[2].split()[36])


def allowed(cpus: tuple[int, ...]) -> tuple[int, ...]:
    """Those of some CPUs that this process may run on."""
    if not hasattr(os, "sched_getaffinity"):
        return cpus
    return tuple(cpu for cpu in cpus if cpu in os.sched_getaffinity(0))


def _number(path: Path) -> float | None:
    text = _text(path)
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
