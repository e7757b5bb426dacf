"""What is sent to a device and run there, with the system's ssh and sftp.

The user's keys, agents and jump hosts work, and host keys are checked as ssh does. Only files that
the device does not have are sent. A connection that is lost is made again; what was measured until
then stays on the device, and the same kit goes on after it.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from prunebench.common.errors import ConfigError, StepError
from prunebench.common.text import counted
from prunebench.measuring.agent import ATTENDED, FILES
from prunebench.measuring.remote.answers import CLOCK_OFF_S
from prunebench.measuring.remote.pack import FRAMES, Content, pack

HOME = ".prunebench"
"""Folder on the device, below the user's home: the environment, and a folder per experiment."""

ENVIRONMENT = f"{HOME}/environment"
JOBS = f"{HOME}/jobs"
"""Folders of a run that ended without removing its own are removed after a day."""

READY = "ready"
PACKAGES = {
    READY: "numpy onnxruntime",
    FRAMES: "opencv-python-headless",
    "openvino": "openvino",
    "ncnn": "ncnn",
    "mnn": "MNN",
    "litert": "ai-edge-litert",
}
"""What is installed there, by the file that says it is: the first always, others where needed."""

PACKAGES_BYTES = 250 * 10**6
"""Bytes that each of them takes at most, with what is downloaded for it."""

SPARE_BYTES = 50 * 10**6
MACHINES = ("x86_64", "aarch64")
OPTIONS = ("BatchMode=yes", "ConnectTimeout=15", "ServerAliveInterval=5", "ServerAliveCountMax=3")
LOST = 255
"""Exit code of ssh itself, where no connection was made or it was lost."""

KILLED = 128
"""Beyond it the exit code of a command tells the signal that ended it."""

PAUSES_S = (2.0, 10.0, 30.0)

Told = Callable[[str, str], None]
"""Is told a line and the device's name."""


class Ended(NamedTuple):
    """How a command on the device ended, with what it printed."""

    code: int
    out: str
    err: str

    @property
    def last(self) -> str:
        """The last line that says something."""
        lines = [line for line in f"{self.out}\n{self.err}".splitlines() if line.strip()]
        return (
            lines[-1].strip().removeprefix("Not measured: ").rstrip(".") if lines else "no output"
        )


class Lost(StepError):
    """The device cannot be reached, or not any more."""


def check_ssh(where: str) -> None:
    """ConfigError where a device is to be reached over ssh and this host has none."""
    for tool in ("ssh", "sftp"):
        if shutil.which(tool) is None:
            what, fix = f"{tool} is not installed here", "install OpenSSH's client"
            raise ConfigError(what, where=where, fix=fix)


class Remote:
    """A device at an ``ssh://`` address, and the folder there that a kit lies in.

    ``python`` is one there that has numpy and onnxruntime, ``None``: an environment is made.
    ``told`` receives what the device says, line by line.
    """

    def __init__(
        self, name: str, address: str, python: str | None, folder: str, told: Told
    ) -> None:
        target, _, port = address.removeprefix("ssh://").partition(":")
        options = [word for option in OPTIONS for word in ("-o", option)]
        self._ssh = ["ssh", *options, *(["-p", port] if port else []), target]
        at = ["-P", port, target] if port else [target]
        self._sftp = ["sftp", "-q", "-C", *options, "-b", "-", *at]
        self._name, self._python, self._folder, self._told = name, python, folder, told
        self._step = f"measuring on {name}"
        self._by_hand = shlex.join(["ssh", *(["-p", port] if port else []), target])

    def answer(self, content: Content, work: Path) -> Path:
        """Send what is missing, run the kit, and take its results; StepError where that fails."""
        for pause in (*PAUSES_S, None):
            try:
                return self._answer(content, work)
            except Lost as lost:
                if pause is None:
                    raise
                self._tell(f"{lost.reason}; trying again in {pause:g} s")
                time.sleep(pause)
        raise AssertionError

    def remove(self) -> None:
        """Remove the folder there; one that cannot be is removed by a later use."""
        with contextlib.suppress(StepError):
            self._ask(f"rm -rf {self._folder}")

    def _answer(self, content: Content, work: Path) -> Path:
        free, there = self._look()
        missing = {sha: found for sha, found in content.files.items() if sha not in there}
        free -= self._send(content, missing, free, work)
        python = self._python or self._environment(free, content.needs)
        command = f"{shlex.quote(python)} kit.pyz {ATTENDED}"
        code, last = self._run(f"cd {self._folder} && exec {command}")
        if code > KILLED:
            name = signal.Signals(code - KILLED).name
            last = f"its process there was ended by {name}, perhaps out of memory"
        if code:
            raise self._failed(last)
        results = work / "results.zip"
        self._carry([f'get "{self._folder}/kit-results.zip" "{results}"'])
        return results

    def _look(self) -> tuple[int, frozenset[str]]:
        """Free bytes on the device, and the files that it has."""
        files = f"{self._folder}/kit.measuring/{FILES}"
        ended = self._ask(
            f"find {JOBS} -mindepth 1 -maxdepth 1 -mtime +0 -exec rm -rf {{}} + 2>&-; "
            f"mkdir -p {files} && uname -m && getconf LONG_BIT && date +%s "
            f"&& df -Pk {files} | tail -n 1 && ls {files}"
        )
        lines = ended.out.splitlines()
        if ended.code or len(lines) < 4:
            raise self._failed(f"it cannot be used ({ended.last})")
        machine, bits, seconds, disk, *there = lines
        if machine not in MACHINES or bits != "64":
            wanted = " or ".join(MACHINES)
            reason = f"its system is {machine} of {bits} bits, onnxruntime needs {wanted} of 64"
            raise self._failed(reason)
        if abs(off := float(seconds) - time.time()) > CLOCK_OFF_S:
            self._tell(f"its clock is {off / 60:+.0f} min off: dates are taken from here")
        return int(disk.split()[3]) * 1024, frozenset(there)

    def _send(
        self, content: Content, missing: dict[str, Path | bytes], free: int, work: Path
    ) -> int:
        """Send the kit, and beside it the files that it then need not hold; gives their bytes."""
        kit, folder = work / "kit.pyz", f"{self._folder}/kit.measuring/{FILES}"
        pack(content, kit, {})
        sources = {}
        targets = {sha256: f"{folder}/{sha256}" for sha256 in missing}
        for sha256, found in missing.items():
            sources[sha256] = found if isinstance(found, Path) else work / sha256
            if isinstance(found, bytes):
                (work / sha256).write_bytes(found)
        sources["kit"], targets["kit"] = kit, f"{self._folder}/kit.pyz"
        size = sum(path.stat().st_size for path in sources.values())
        self._need(size + SPARE_BYTES, free)
        self._tell(f"sending {counted(len(sources), 'file')}, {size / 1e6:.1f} MB")
        lines = []
        for key, source in sources.items():
            lines += [f'put "{source}" "{targets[key]}.partial"', f'-rm "{targets[key]}"']
            lines.append(f'rename "{targets[key]}.partial" "{targets[key]}"')
        self._carry(lines)
        return size

    def _environment(self, free: int, needs: Sequence[str]) -> str:
        """The Python of the environment on the device, which is made on the first use.

        Where there is no room for more than the first packages, or nothing for such a device, it
        goes without.
        """
        python = f"{ENVIRONMENT}/bin/python"
        known = self._ask(f"pwd; cd {ENVIRONMENT} 2>&- && ls").out.split()
        for mark in (mark for mark in (READY, *needs) if mark not in known):
            needed, packages = mark == READY, PACKAGES[mark]
            if needed:
                self._need(PACKAGES_BYTES, free)
            elif free < PACKAGES_BYTES:
                self._tell(f"{free / 1e6:.0f} MB are free, too little for {packages}")
                break
            self._tell(f"installing {packages} in ~/{ENVIRONMENT}")
            made = self._ask(
                (f"python3 -m venv --clear {ENVIRONMENT} && " if needed else "")
                + f"{python} -m pip install --quiet --no-cache-dir {packages} "
                f"&& touch {ENVIRONMENT}/{mark}"
            )
            if made.code and needed:
                raise self._failed(f"no environment can be made there ({made.last})")
            if made.code:
                self._tell(f"{packages} cannot be installed there ({made.last})")
            free -= PACKAGES_BYTES
        return f"{known[0]}/{python}"

    def _failed(self, reason: str) -> StepError:
        return StepError(self._step, reason)

    def _tell(self, line: str) -> None:
        self._told(line, self._name)

    def _need(self, needed: int, free: int) -> None:
        if free < needed:
            reason = f"its disk is full: {free / 1e6:.0f} MB are free, {needed / 1e6:.0f} MB needed"
            raise self._failed(reason)

    def _ask(self, command: str) -> Ended:
        """Run a command in the user's home; Lost where there is no connection."""
        given = [*self._ssh, f"sh -c {shlex.quote(command)}"]
        ended = subprocess.run(given, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        return self._reached(Ended(ended.returncode, ended.stdout, ended.stderr))

    def _carry(self, lines: Sequence[str]) -> None:
        """Have sftp do what the lines say; it stops at the first that fails."""
        ended = subprocess.run(
            self._sftp, input="\n".join(lines) + "\n", capture_output=True, text=True
        )
        found = self._reached(Ended(ended.returncode, ended.stdout, ended.stderr))
        if found.code:
            full = re.search(r"write remote .*: Failure|No space", found.err)
            raise self._failed("its disk is full" if full else f"sftp failed ({found.last})")

    def _run(self, command: str) -> tuple[int, str]:
        """Run the kit, each line it prints told as it comes; its exit code and its last line."""
        last = ""
        errors: list[str] = []
        given = [*self._ssh, f"sh -c {shlex.quote(command)}"]
        with subprocess.Popen(
            given,
            stdin=subprocess.PIPE,  # While it is open, somebody waits for the answer.
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        ) as process:
            reading = threading.Thread(target=_gather, args=(process.stderr, errors), daemon=True)
            reading.start()
            for line in process.stdout or ():
                last = line.strip()
                self._tell(last)
            code = process.wait()
            reading.join()
        ended = self._reached(Ended(code, last, "".join(errors)))
        return ended.code, ended.last

    def _reached(self, ended: Ended) -> Ended:
        """What ended, unless ssh itself failed."""
        if ended.code != LOST:
            return ended
        if "Host key verification failed" in ended.err:
            reason = f"its host key is not known here, or changed; look at it with: {self._by_hand}"
            raise self._failed(reason)
        if "Permission denied" in ended.err:
            raise self._failed(f"it takes no key of this user; try by hand: {self._by_hand}")
        said = (ended.err.strip().splitlines() or ["no reason given"])[-1].rstrip(".")
        raise Lost(self._step, f"it cannot be reached ({said}); what it measured is kept there")


def _gather(stream: IO[str] | None, lines: list[str]) -> None:
    lines.extend(stream or ())
