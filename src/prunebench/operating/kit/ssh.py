"""A kit carried to a device, run and brought home with the system's ssh and sftp.

The user's keys, agents and jump hosts work, and host keys are checked as ssh does. Only files that
the device does not have are sent. A connection that is lost is made again; what was measured until
then stays on the device, and the same kit goes on after it.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from prunebench.common.errors import ConfigError, PrunebenchError, StepError
from prunebench.common.text import counted
from prunebench.config.devices import SshDevice
from prunebench.config.loading import Config
from prunebench.measuring.agent import FILES
from prunebench.operating.kit.make import Content, content_of, pack
from prunebench.operating.kit.results import column_of
from prunebench.operating.rebenchmark import read_source
from prunebench.results.devices import Device

HOME = ".prunebench"
"""Folder on the device, below the user's home: the environment, and a folder per experiment."""

ENVIRONMENT = f"{HOME}/environment"
PACKAGES = ("numpy", "onnxruntime", "opencv-python-headless")
ENVIRONMENT_BYTES = 400 * 10**6
SPARE_BYTES = 50 * 10**6
MACHINES = ("x86_64", "aarch64")
OPTIONS = ("BatchMode=yes", "ConnectTimeout=15", "ServerAliveInterval=5", "ServerAliveCountMax=3")
LOST = 255
"""Exit code of ssh itself, where no connection was made or it was lost."""

PAUSES_S = (2.0, 10.0, 30.0)
CLOCK_OFF_S = 120.0

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
        return lines[-1].strip() if lines else "no output"


class Lost(StepError):
    """The device cannot be reached, or not any more."""


def check_ssh(config: Config) -> None:
    """ConfigError where a device is to be reached over ssh and this host has none."""
    for tool in ("ssh", "sftp"):
        if config.over_ssh and shutil.which(tool) is None:
            what, fix = f"{tool} is not installed here", "install OpenSSH's client"
            raise ConfigError(what, where="devices", fix=fix)


def measure_there(folder: Path, name: str, device: SshDevice, told: Told) -> Device:
    """Measure a finished run's files on a device; why it has no figures, where it has none."""
    try:
        experiment, variants = read_source(folder)
        content = content_of(experiment, variants)
        there = _There(name, device, f"{HOME}/{experiment.config.name}", told)
        with tempfile.TemporaryDirectory() as work:
            for pause in (*PAUSES_S, None):
                try:
                    results = there.measure(content, Path(work))
                    return column_of(folder, results, name)
                except Lost as lost:
                    if pause is None:
                        raise
                    told(f"{lost.reason}; trying again in {pause:g} s", name)
                    time.sleep(pause)
    except StepError as error:
        return Device(name=name, failure=error.reason)
    except PrunebenchError as error:
        return Device(name=name, failure=str(error).rstrip("."))
    raise AssertionError


class _There:
    """A device and the folder there that a kit lies in."""

    def __init__(self, name: str, device: SshDevice, folder: str, told: Told) -> None:
        target, _, port = device.address.removeprefix("ssh://").partition(":")
        options = [word for option in OPTIONS for word in ("-o", option)]
        self._ssh = ["ssh", *options, *(["-p", port] if port else []), target]
        self._sftp = ["sftp", "-q", *options, *(["-P", port] if port else []), "-b", "-", target]
        self._name, self._python, self._folder, self._told = name, device.python, folder, told
        self._by_hand = shlex.join(["ssh", *(["-p", port] if port else []), target])

    def measure(self, content: Content, work: Path) -> Path:
        """Send what is missing, run the kit, and take its results; StepError where that fails."""
        free, there = self._look()
        missing = {sha: found for sha, found in content.files.items() if sha not in there}
        self._send(content, missing, free, work)
        python = self._python or self._environment(free)
        code, last = self._run(f"cd {self._folder} && exec {shlex.quote(python)} kit.pyz")
        if code:
            raise StepError("kit", last.removeprefix("Not measured: ").rstrip("."))
        results = work / "results.zip"
        self._carry([f'get "{self._folder}/kit-results.zip" "{results}"'])
        return results

    def _look(self) -> tuple[int, frozenset[str]]:
        """Free bytes on the device, and the files that it has."""
        files = f"{self._folder}/kit.measuring/{FILES}"
        ended = self._ask(
            f"mkdir -p {files} && uname -m && getconf LONG_BIT && date +%s "
            f"&& df -Pk {files} | tail -n 1 && ls {files}"
        )
        lines = ended.out.splitlines()
        if ended.code or len(lines) < 4:
            raise StepError("kit", f"it cannot be used ({ended.last})")
        machine, bits, seconds, disk, *there = lines
        if machine not in MACHINES or bits != "64":
            wanted = " or ".join(MACHINES)
            reason = f"its system is {machine} of {bits} bits, onnxruntime needs {wanted} of 64"
            raise StepError("kit", reason)
        if abs(off := float(seconds) - time.time()) > CLOCK_OFF_S:
            self._tell(f"its clock is {off / 60:+.0f} min off: dates are taken from here")
        return int(disk.split()[3]) * 1024, frozenset(there)

    def _send(
        self, content: Content, missing: dict[str, Path | bytes], free: int, work: Path
    ) -> None:
        """Send the kit, and beside it the files that are missing, which it need not hold then."""
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

    def _environment(self, free: int) -> str:
        """The Python of the environment on the device, which is made on the first use."""
        python = f"{ENVIRONMENT}/bin/python"
        home = self._ask(f"cd && pwd && test -e {ENVIRONMENT}/ready")
        if home.code:
            self._need(ENVIRONMENT_BYTES, free)
            self._tell(f"making an environment in ~/{ENVIRONMENT}")
            made = self._ask(
                f"python3 -m venv --clear {ENVIRONMENT} && {python} -m pip install --quiet "
                f"--no-cache-dir {' '.join(PACKAGES)} && touch {ENVIRONMENT}/ready"
            )
            if made.code:
                raise StepError("kit", f"no environment can be made there ({made.last})")
        return f"{home.out.splitlines()[0]}/{python}"

    def _tell(self, line: str) -> None:
        self._told(line, self._name)

    def _need(self, needed: int, free: int) -> None:
        if free < needed:
            reason = f"its disk is full: {free / 1e6:.0f} MB are free, {needed / 1e6:.0f} MB needed"
            raise StepError("kit", reason)

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
            raise StepError("kit", "its disk is full" if full else f"sftp failed ({found.last})")

    def _run(self, command: str) -> tuple[int, str]:
        """Run the kit, each line it prints told as it comes; its exit code and its last line."""
        last = ""
        errors: list[str] = []
        given = [*self._ssh, f"sh -c {shlex.quote(command)}"]
        with subprocess.Popen(
            given,
            stdin=subprocess.DEVNULL,
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
            raise StepError("kit", reason)
        if "Permission denied" in ended.err:
            raise StepError("kit", f"it takes no key of this user; try by hand: {self._by_hand}")
        said = (ended.err.strip().splitlines() or ["no reason given"])[-1].rstrip(".")
        raise Lost("kit", f"it cannot be reached ({said}); what it measured is kept there")


def _gather(stream: IO[str] | None, lines: list[str]) -> None:
    lines.extend(stream or ())
