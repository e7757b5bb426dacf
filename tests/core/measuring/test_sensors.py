"""What a faked sysfs says of cores, clock, heat, throttling and energy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from prunebench.common.errors import ConfigError
from prunebench.config.sections import LatencyConfig
from prunebench.measuring.host import fingerprint as module
from prunebench.measuring.host import sensors
from prunebench.measuring.host.fingerprint import cpus_of, fingerprint
from prunebench.measuring.host.sensors import EnergyMeter, Sensors, core_classes, current_cpu
from prunebench.measuring.session import SessionSettings


def write(root: Path, **files: object) -> None:
    """Files of a faked sysfs; a key's double underscore is a folder's end."""
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("CPUS", "devices/system/cpu")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")


def test_classes_follow_the_capacities(tmp_path: Path) -> None:
    assert core_classes(tmp_path) == {}
    capacities = [446, 446, 1024, 1024, 871]
    for cpu, capacity in enumerate(capacities[:2]):
        write(tmp_path, **{f"CPUS__cpu{cpu}__cpu_capacity": capacity})
    assert core_classes(tmp_path) == {}
    for cpu, capacity in enumerate(capacities):
        write(tmp_path, **{f"CPUS__cpu{cpu}__cpu_capacity": capacity})
    write(tmp_path, CPUS__cpufreq__boost="1")
    assert core_classes(tmp_path) == {"big": (2, 3), "little": (0, 1)}


def test_a_class_is_where_the_kernel_names_one(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = min(os.sched_getaffinity(0))
    monkeypatch.setattr(module, "core_classes", lambda: {"big": (4096,), "little": (mine, 4097)})
    assert cpus_of("all") is None
    assert cpus_of("little") == (mine,)
    with pytest.raises(ConfigError, match=r"latency\.cores: this process has no big cores"):
        cpus_of("big")
    little = fingerprint(SessionSettings.of(LatencyConfig()), "little")
    assert little.cpu.endswith(", little cores")
    assert little.digest() != fingerprint(SessionSettings.of(LatencyConfig())).digest()


def test_a_class_is_given_alone_or_in_a_list() -> None:
    assert LatencyConfig().cores == ("all",)
    assert LatencyConfig.model_validate({"cores": "big"}).cores == ("big",)
    assert LatencyConfig.model_validate({"cores": ["big", "little"]}).cores == ("big", "little")
    with pytest.raises(ValueError, match="cores"):
        LatencyConfig.model_validate({"cores": ["big", "big"]})


def test_a_look_notes_core_clock_and_the_hottest_zone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensors, "current_cpu", lambda: 3)
    write(tmp_path, CPUS__cpu3__cpufreq__scaling_cur_freq=1500000)
    for zone, heat in enumerate((41000, 63250, "n/a")):
        write(tmp_path, **{f"class__thermal__thermal_zone{zone}__temp": heat})
    seen = Sensors(tmp_path)
    seen.look()
    write(tmp_path, CPUS__cpu3__cpufreq__scaling_cur_freq=600000)
    seen.look()
    assert (seen.cpus, seen.mhz, seen.celsius) == ({3}, [1500, 600], [63.25, 63.25])
    assert seen.throttled == 0


def test_without_sensors_nothing_is_claimed(tmp_path: Path) -> None:
    seen = Sensors(tmp_path)
    seen.look()
    assert (seen.mhz, seen.celsius, seen.throttled) == ([None], [None], 0)
    assert seen.cpus <= os.sched_getaffinity(0)
    assert EnergyMeter(tmp_path).since() is None


def test_the_core_of_a_thread_is_the_one_it_is_bound_to() -> None:
    cpu = max(os.sched_getaffinity(0))
    code = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])}); "
    code += "from prunebench.measuring.host.sensors import current_cpu; print(current_cpu())"
    asked = [sys.executable, "-c", code, str(cpu)]
    assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout == f"{cpu}\n"
    assert current_cpu() in os.sched_getaffinity(0)


def test_throttling_is_a_rising_counter_or_a_flag_that_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = "CPUS__cpu0__thermal_throttle__core_throttle_count"
    write(tmp_path, **{counter: 7})
    counted = Sensors(tmp_path)
    counted.look()
    write(tmp_path, **{counter: 8})
    counted.look()
    counted.look()
    assert counted.throttled == 1
    # 0x50005: under-voltage and throttled, now and before; 0x50000: before alone.
    flags = "devices__platform__soc__soc:firmware__get_throttled"
    write(tmp_path, **{flags: "50000"})
    flagged = Sensors(tmp_path)
    flagged.look()
    write(tmp_path, **{flags: "50005"})
    flagged.look()
    assert flagged.throttled == 1
    # Without that file, the tool of the firmware is asked.
    tool = tmp_path / "bin" / "vcgencmd"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho throttled=0x4\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent))
    asked = Sensors(tmp_path / "empty")
    asked.look()
    assert asked.throttled == 1


def test_energy_is_that_of_all_packages_beyond_the_counters_end(tmp_path: Path) -> None:
    def counters(*microjoules: int) -> None:
        for number, value in enumerate(microjoules):
            package = f"class__powercap__intel-rapl:{number}"
            write(tmp_path, **{f"{package}__energy_uj": value})
            write(tmp_path, **{f"{package}__max_energy_range_uj": 10_000_000})
        # A part of package 0, which is counted with it.
        write(tmp_path, **{"class__powercap__intel-rapl:0:0__energy_uj": 5})

    counters(1_000_000, 9_500_000)
    meter = EnergyMeter(tmp_path)
    counters(3_000_000, 500_000)
    assert meter.since() == pytest.approx(2 + 1)
    assert meter.since() == 0
    (tmp_path / "class/powercap/intel-rapl:1/energy_uj").unlink()
    assert meter.since() is None
