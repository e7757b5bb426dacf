"""Whether an emulator runs this process: what it takes then is no time of the CPU it sees."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from prunebench.common.cores import read_kernel_file
from prunebench.common.errors import EnvironmentMismatch

MACHINES = {62: "x86_64", 183: "aarch64"}
"""What programs are built for, by the number at byte 18 of an ELF file."""

OWN_CPU = re.compile(
    r"^model name\s*: QEMU TCG CPU|^CPU implementer\s*: 0x00\n(?:.+\n)*?CPU part\s*: 0x051\b",
    re.MULTILINE,
)
"""The CPU that QEMU shows where no real one runs the machine (``-cpu max``), of x86 and of ARM."""

IN_WORDS = "{} runs this Python, an emulator: what it takes is no time of a real device"


def emulator(proc: Path = Path("/proc"), machine: str | None = None) -> str | None:
    """The program that emulates the CPU for this process; ``None`` where none is seen.

    An emulator shows a process its own program and CPU at the usual places of ``/proc``, and what
    the kernel runs in truth at the others. A whole emulated machine has a kernel of its own: it is
    seen where its CPU is QEMU's own model, and taken for real where it passes for another.
    """
    if OWN_CPU.search(read_kernel_file(proc / "cpuinfo") or ""):
        return "qemu-system"
    truth = proc / "self" / "task" / str(os.getpid()) / "exe"
    try:
        shown, runs = (proc / "self" / "exe").readlink(), truth.readlink()
        with truth.open("rb") as program:
            built_for = MACHINES.get(int.from_bytes(program.read(20)[18:], "little"))
    except OSError:
        return None
    claimed = machine or platform.machine()
    foreign = built_for is not None and claimed in MACHINES.values() and claimed != built_for
    return runs.name if foreign or shown != runs else None


def require_real_cpu() -> None:
    """Refuse, with an EnvironmentMismatch, to measure where an emulator runs this process."""
    if (name := emulator()) is not None:
        raise EnvironmentMismatch(
            IN_WORDS.format(name),
            fix="run where the CPU is real; in Docker, take an image of the host's platform",
        )
