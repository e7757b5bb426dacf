"""What a kit runs on a device: measure as at home, with numpy and onnxruntime alone.

``python3 FILE`` unpacks beside the file, measures round after round, and writes one results file.
Killed at any moment, the same command goes on after the last round that was finished. A file that
the kit does not hold has to lie unpacked already, under its SHA-256: so a kit is sent in parts.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from prunebench.common.errors import EXIT_FAILED, InputError, PrunebenchError
from prunebench.common.files import full_disk, sha256_of, write_atomically
from prunebench.measuring.host.emulation import IN_WORDS, emulator
from prunebench.measuring.host.fingerprint import cpus_of, fingerprint
from prunebench.measuring.host.sensors import Sensors, core_classes
from prunebench.measuring.jobs import JOBS
from prunebench.measuring.latency.log import SampleLog
from prunebench.measuring.latency.noise import load_before_start, noise_findings
from prunebench.measuring.latency.raw import SENTINEL, Sample
from prunebench.measuring.latency.rounds import Rounds, Target, input_file, threads_of
from prunebench.measuring.latency.together import START
from prunebench.measuring.session import SessionSettings

MANIFEST = "kit.json"
FILES = "files"
CODE = "prunebench/"
RESULTS = "results.json"
SAMPLES = "samples.jsonl"
LOCK = "prunebench-measuring.lock"
"""In the temporary folder, as ``host.lock`` has it: a kit and a run here wait for each other."""

ATTENDED = "attended"
"""Argument of a kit that ends itself as soon as its standard input closes."""

AGENT = "prunebench.measuring.agent"
FRAMES = "prunebench.measuring.frames"
LOCK_POLL_S = 1.0
INTERRUPTED = 130


class Kit:
    """An opened kit: its manifest, and the folder beside it that it is unpacked to."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.folder = file.with_suffix(".measuring")
        self.results = file.with_name(f"{file.stem}-results.zip")
        with zipfile.ZipFile(file) as archive:
            self.manifest: dict[str, Any] = json.loads(archive.read(MANIFEST))
            self._unpack(archive)

    @property
    def protocol(self) -> dict[str, Any]:
        """What is measured and how, the host apart."""
        protocol: dict[str, Any] = self.manifest["protocol"]
        return protocol

    @property
    def quiet(self) -> bool:
        """Whether nobody reads how far it is, who runs it knows what for."""
        return "job" in self.manifest or "quiet" in self.manifest

    def path(self, sha256: str) -> Path:
        """Where a file of this content lies."""
        return self.folder / FILES / sha256

    def _unpack(self, archive: zipfile.ZipFile) -> None:
        # Code from a folder is compiled once, from an archive in every process.
        code = [name for name in archive.namelist() if name.startswith(CODE)]
        shutil.rmtree(self.folder / CODE, ignore_errors=True)
        archive.extractall(self.folder, code)
        held = set(archive.namelist())
        for sha256 in self.manifest["files"]:
            path = self.path(sha256)
            if path.is_file() and sha256_of(path) == sha256:
                continue
            name = f"{FILES}/{sha256}"
            content = archive.read(name) if name in held else b""
            if hashlib.sha256(content).hexdigest() != sha256:
                raise InputError("the kit is damaged", where=self.file, fix="copy it here again")
            write_atomically(path, content)
        for path in (self.folder / FILES).iterdir():
            if path.name not in self.manifest["files"]:
                path.unlink()


def measure(kit: Kit) -> Path:
    """Measure what the kit holds, or go on with it, and write the results file."""
    protocol, settings = kit.protocol, kit.manifest["settings"]
    cores = settings["cores"][0]
    host, cpus = fingerprint(SessionSettings.among(settings), cores), cpus_of(cores)
    targets = {
        name: Target(
            name,
            kit.path(sha256),
            sha256,
            imgsz=tuple(size) if (size := protocol["letterboxes"][name]) else None,
            runtime=protocol["runtimes"][name],
        )
        for name, sha256 in protocol["variants"].items()
    }
    work = kit.folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        frames = _frames(kit, work)
        rounds = Rounds(
            sentinel=Target(SENTINEL, kit.path(kit.manifest["sentinel"]), ""),
            variants=targets,
            threads=threads_of(settings["threads"], cpus),
            cpus=cpus,
            settings=settings,
            frames=frames,
            shared={key: protocol[key] for key in ("realtime_fps", "imgsz", "nc", "seed")},
            work=work,
            log=SampleLog(kit.folder, {**protocol, "host": host.digest(), "frames": len(frames)}),
            told=lambda samples, runs: progress.told(samples),
        )
        progress = Progress(rounds, quiet=kit.quiet)
        progress.begin()
        load_average = os.getloadavg()
        before = [] if rounds.log.samples else load_before_start()
        stopped = rounds.run(None)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    samples = kit.folder / SAMPLES
    noise = [*before, *noise_findings(rounds.log.samples, os.cpu_count() or 1, core_classes())]
    found = {
        "format": kit.manifest["format"],
        "run": kit.manifest["run"],
        "made_at": kit.manifest["made_at"],
        "device": platform.node(),
        "protocol": protocol,
        "fingerprint": host.fields(),
        "emulator": emulator(),
        "threads": rounds.threads,
        "failures": rounds.failures,
        "frames": bool(frames),
        "stopped": stopped,
        "load_average": load_average,
        "noise": [asdict(one) for one in noise],
        "samples": sha256_of(samples),
        "ended_at": time.time(),
    }
    for name, reason in rounds.failures.items():
        tell(f"{name} could not be measured: {reason}")
    if noise and not kit.quiet:
        kinds = ", ".join(sorted({one.kind.replace("_", " ") for one in noise}))
        tell(f"The device was disturbed meanwhile ({kinds}); the results say how.")
    return _packed(kit, found, samples)


def answer(kit: Kit) -> Path:
    """Do the one job that the manifest names, and write the results file."""
    job, settings = kit.manifest["job"], kit.manifest["settings"]
    session, cores = SessionSettings.among(settings), settings["cores"][0]
    host, cpus = fingerprint(session, cores), cpus_of(cores)
    if cpus:
        os.sched_setaffinity(0, cpus)
    sensors = Sensors()
    # Whoever ends this process removes the kit's folder, and nothing else.
    with tempfile.TemporaryDirectory(dir=kit.folder) as work:
        found = JOBS[job["kind"]](job, kit.path, session, Path(work), tell)
    sensors.look()
    said = {
        "format": kit.manifest["format"],
        "fingerprint": host.fields(),
        "emulator": emulator(),
        "throttled": bool(sensors.throttled),
        "found": found,
    }
    return _packed(kit, said)


def _packed(kit: Kit, said: dict[str, Any], *files: Path) -> Path:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(RESULTS, json.dumps(said, indent=1))
        for path in files:
            archive.write(path, path.name)
    write_atomically(kit.results, packed.getvalue())
    return kit.results


class Progress:
    """Says after every round what it found and how long the rest may take."""

    def __init__(self, rounds: Rounds, *, quiet: bool) -> None:
        self._rounds, self._quiet, self._emulator = rounds, quiet, emulator()

    def begin(self) -> None:
        """Say what is measured, and what is there already."""
        rounds = self._rounds
        if self._quiet:
            return
        what = f"{len(rounds.variants)} variants, threads {', '.join(map(str, rounds.threads))}"
        least, most = rounds.settings["rounds_min"], rounds.settings["rounds_max"]
        tell(f"Measuring {what}: {_span(str(least), str(most))} rounds.")
        if len(cores := rounds.settings["cores"]) > 1:
            tell(f"On {cores[0]} cores alone: a kit measures the first of latency.cores.")
        if (together := rounds.at_once()) < len(rounds.variants) * len(rounds.threads) + 1:
            tell(f"There is memory for {together} processes at once: a round has several parts.")
        if self._emulator:
            tell(f"{IN_WORDS.format(self._emulator)}, and is not shown.")
        if done := len({sample.round for sample in rounds.log.samples}):
            tell(f"{done} rounds were measured earlier: going on after them.")

    def told(self, samples: Sequence[Sample]) -> None:
        """Say what a round found, and the time left."""
        rounds, settings = self._rounds, self._rounds.settings
        if self._quiet:
            return
        done = samples[0].round + 1
        figures = ", ".join(
            f"{one.variant} "
            + ("—" if self._emulator else f"{float(np.median(one.model_ms)):.1f} ms")
            + (f" ({one.threads} threads)" if one.threads > 1 else "")
            for one in sorted(samples, key=lambda s: (s.threads, s.variant))
            if one.variant != SENTINEL
        )
        spent = sum(sample.elapsed_s for sample in rounds.log.samples)
        each = spent / done
        least = max(0, settings["rounds_min"] - done) * each
        budget = max(least, settings["budget_minutes"] * 60 - spent)
        most = min(budget, (settings["rounds_max"] - done) * each)
        tell(f"Round {done}: {figures}. {_span(_left(least), _left(most))} left.")


def _span(least: str, most: str) -> str:
    return least if least == most else f"{least} to {most}"


def _left(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _frames(kit: Kit, work: Path) -> list[Path]:
    """Decoded frames, by a process of their own; none, and a sentence, without OpenCV."""
    for size, sha256 in kit.manifest["inputs"].items():
        height, width = map(int, size.split("x"))
        pixels = np.load(kit.path(sha256))
        # As ``postprocess.letterbox`` does, to the last bit.
        np.save(input_file(work, (height, width)), pixels / np.float32(255))
    images = [str(kit.path(sha256)) for sha256 in kit.protocol["images"]]
    if not images:
        return []
    if importlib.util.find_spec("cv2") is None:
        tell(
            "OpenCV is not installed here, so the model's time alone is measured; for whole "
            "frames: python3 -m pip install opencv-python-headless"
        )
        return []
    command = [sys.executable, "-c", START.format(FRAMES), str(work), *images]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or ["no output"])[-1]
        raise InputError(f"the frames cannot be decoded ({last})", fix="install OpenCV anew")
    return [work / f"frame-{index}.npy" for index in range(len(images))]


@contextlib.contextmanager
def alone_on_host() -> Iterator[None]:
    """Hold the host's measuring lock; wait for a measurement that is under way."""
    with (Path(tempfile.gettempdir()) / LOCK).open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell("Another measurement is under way on this device: waiting for it.")
            while True:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                time.sleep(LOCK_POLL_S)
        yield


def tell(sentence: str) -> None:
    """Print a line at once."""
    print(sentence, flush=True)


def _end_with_caller() -> None:
    """Block until standard input closes, then end at once; what was measured is kept."""
    while os.read(0, 1024):
        pass
    os._exit(EXIT_FAILED)


def main() -> int:
    """Measure what the kit at hand holds; gives the exit code."""
    file = Path(sys.argv[0]).resolve()
    if ATTENDED in sys.argv[1:]:
        threading.Thread(target=_end_with_caller, daemon=True).start()
    try:
        with alone_on_host():
            kit = Kit(file)
            known = os.environ.get("PYTHONPATH", "")
            os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(kit.folder), known]))
            results = answer(kit) if "job" in kit.manifest else measure(kit)
            if not kit.quiet:
                tell(f"Done. Results: {results}")
    except KeyboardInterrupt:
        print("Interrupted; the same command goes on where it stopped.", file=sys.stderr)
        return INTERRUPTED
    except PrunebenchError as error:
        print(f"Not measured: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        os._exit(EXIT_FAILED)  # Nobody listens any more; what was measured is kept.
    except OSError as error:
        reason = full_disk(file.parent, error) or str(error)
        print(f"Not measured: {reason}", file=sys.stderr)
        return EXIT_FAILED
    return 0
