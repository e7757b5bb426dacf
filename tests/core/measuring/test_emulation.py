"""An emulator is seen by what the kernel runs in truth; its times are nobody's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from prunebench.common.errors import EnvironmentMismatch
from prunebench.config.loading import Config
from prunebench.config.sections import LatencyConfig
from prunebench.experiment.prepare import check
from prunebench.measuring.host import doctor, emulation
from prunebench.measuring.host.emulation import emulator
from prunebench.measuring.latency.measure import measure

X86_64, AARCH64, I386 = 62, 183, 3


# What QEMU's machines show of a CPU of their own, of one they pass for, and what a board shows.
TCG_X86 = "vendor_id\t: AuthenticAMD\nmodel name\t: QEMU TCG CPU version 2.5+\nstepping\t: 3\n"
KVM_X86 = "vendor_id\t: AuthenticAMD\nmodel name\t: QEMU Virtual CPU version 2.5+\nstepping\t: 3\n"
ARM = "BogoMIPS\t: 125.00\nCPU implementer\t: {}\nCPU architecture: 8\nCPU variant\t: 0x0\n\
CPU part\t: {}\nCPU revision\t: 0\n"


@pytest.mark.parametrize(
    ("cpuinfo", "found"),
    [
        (TCG_X86, "qemu-system"),
        (KVM_X86, None),
        (ARM.format("0x00", "0x051"), "qemu-system"),
        (ARM.format("0x41", "0xd0b"), None),
        (ARM.format("0x41", "0x051"), None),
        (ARM.format("0x41", "0xd0b") + "\n" + ARM.format("0x00", "0x051"), "qemu-system"),
    ],
)
def test_a_machine_with_qemus_own_cpu_is_emulated(
    tmp_path: Path, cpuinfo: str, found: str | None
) -> None:
    root = proc(tmp_path, "python3", "python3", X86_64)
    (root / "cpuinfo").write_text(cpuinfo)
    assert emulator(root, "x86_64") == found


def proc(folder: Path, shown: str, runs: str, built_for: int) -> Path:
    """A ``/proc`` that shows a process one program while the kernel runs another."""
    thread = folder / "proc" / "self" / "task" / str(os.getpid())
    thread.mkdir(parents=True)
    for name in {shown, runs}:
        elf = b"\x7fELF" + bytes(12) + b"\x02\0" + built_for.to_bytes(2, "little")
        folder.joinpath(name).write_bytes(elf)
    thread.joinpath("exe").symlink_to(folder / runs)
    folder.joinpath("proc", "self", "exe").symlink_to(folder / shown)
    return folder / "proc"


@pytest.mark.parametrize(
    ("shown", "runs", "built_for", "machine", "found"),
    [
        ("python3", "python3", X86_64, "x86_64", None),
        ("python3", "python3", AARCH64, "aarch64", None),
        # 32-bit programs of the same CPU, and what is not known to be foreign.
        ("python3", "python3", I386, "x86_64", None),
        ("python3", "python3", X86_64, "i686", None),
        # qemu-user shows the program, others may show themselves.
        ("python3", "qemu-aarch64", X86_64, "aarch64", "qemu-aarch64"),
        ("qemu-aarch64", "qemu-aarch64", X86_64, "aarch64", "qemu-aarch64"),
        ("python3", "qemu-x86_64", X86_64, "x86_64", "qemu-x86_64"),
        ("rosetta", "rosetta", AARCH64, "x86_64", "rosetta"),
    ],
)
def test_an_emulator_is_named(
    tmp_path: Path, shown: str, runs: str, built_for: int, machine: str, found: str | None
) -> None:
    assert emulator(proc(tmp_path, shown, runs, built_for), machine) == found


def test_here_and_without_proc_none_is_seen(tmp_path: Path) -> None:
    assert emulator() is None
    assert emulator(tmp_path) is None


def test_nothing_is_measured_under_an_emulator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emulation, "emulator", lambda: "qemu-aarch64")
    monkeypatch.setattr(doctor, "emulator", lambda: "qemu-aarch64")
    shared = {"realtime_fps": 20.0, "imgsz": (64, 96), "nc": 3, "seed": 0}
    with pytest.raises(EnvironmentMismatch, match="qemu-aarch64 runs this Python, an emulator"):
        measure([], [], LatencyConfig(), folder=tmp_path, **shared)
    with pytest.raises(EnvironmentMismatch, match="run where the CPU is real"):
        check(Config(model="none.pt"))
    assert doctor._surroundings()[0] == "bad"
