"""What a device is asked before anything is pruned for it: what it is, and how fast it is."""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from prunebench.common.errors import EnvironmentMismatch, InputError, StepError
from prunebench.common.records import Record
from prunebench.measuring.agent import RESULTS
from prunebench.measuring.host.emulation import IN_WORDS
from prunebench.measuring.host.fingerprint import Fingerprint
from prunebench.measuring.latency.raw import Sample
from prunebench.measuring.latency.rounds import Target, protocol_of
from prunebench.measuring.remote.answers import read_results
from prunebench.measuring.remote.pack import FORMAT, Content, keep, keep_sentinel
from prunebench.measuring.remote.there import There, host_of
from prunebench.measuring.remote.transport import JOBS, Remote

DAMAGED_ANSWER = "its answer is damaged"
UNUSED = "unused"
"""OpenCV's version, which may be installed for whole frames later on, and changes nothing here."""


class Answer(Record):
    """What the agent says of a job; ``measuring.agent.answer`` writes it."""

    format: int
    fingerprint: Fingerprint
    emulator: str | None
    throttled: bool
    found: Any


class Device:
    """A device that answers; ``settings`` are those of the section ``latency`` that a job reads.

    StepError where it is not what it was when it was looked at first.
    """

    def __init__(
        self, there: There, remote: Remote, work: Path, settings: Mapping[str, Any]
    ) -> None:
        self._there, self._remote, self._work = there, remote, work
        self._settings = settings
        self.throttled = False

    def look(self) -> There:
        """What the device is, and how fast; EnvironmentMismatch where an emulator runs there."""
        files: dict[str, Path | bytes] = {}
        answer = self._ask({"kind": "look", "sentinel": keep_sentinel(files)}, files)
        if answer.emulator:
            raise EnvironmentMismatch(IN_WORDS.format(answer.emulator), where=self._there.name)
        host = replace(answer.fingerprint, opencv=UNUSED).fields()
        return self._there.model_copy(update={"host": host, "sentinel_ms": answer.found})

    def rows(self, rows: Mapping[int, bytes]) -> dict[str, Any]:
        """Time rows of convolutions, by their width, for the block of its kernels."""
        files: dict[str, Path | bytes] = {}
        named = {width: keep(row, files) for width, row in rows.items()}
        found: dict[str, Any] = self._ask({"kind": "rows", "rows": named}, files).found
        return found

    def turns(
        self, files: Mapping[str, bytes], fewest: int, seconds: float
    ) -> dict[str, list[float]]:
        """Microseconds of files on one thread, in so many turns or more."""
        kept: dict[str, Path | bytes] = {}
        named = {name: keep(content, kept) for name, content in files.items()}
        job = {"kind": "turns", "named": named, "fewest": fewest, "seconds": seconds}
        found: dict[str, list[float]] = self._ask(job, kept).found
        return found

    def layers(self, graphs: Sequence[tuple[bytes, int]], threads: int) -> list[list[float]]:
        """Microseconds of each layer in graphs of unconnected ones, which come with their count."""
        files: dict[str, Path | bytes] = {}
        named = [(keep(graph, files), count) for graph, count in graphs]
        job = {"kind": "layers", "graphs": named, "threads": threads}
        found: list[list[float]] = self._ask(job, files).found
        return found

    def rounds(
        self, targets: Sequence[Target], shared: Mapping[str, Any], **number: int
    ) -> list[Sample]:
        """Measure files side by side as a kit does, without frames; StepError where one fails.

        ``number`` is that of the rounds, by its names in ``latency``, where not the settings' own.
        """
        settings = {**self._settings, **number}
        files: dict[str, Path | bytes] = {target.sha256: target.onnx for target in targets}
        # What an earlier try left there has nothing to do with this one.
        protocol = {**protocol_of(targets, (), settings, shared), "asked": uuid.uuid4().hex}
        manifest = {
            "format": FORMAT,
            "run": "",
            "made_at": time.time(),
            "protocol": json.loads(json.dumps(protocol)),
            "settings": settings,
            "sentinel": keep_sentinel(files),
            "inputs": {},
            "quiet": True,
        }
        archive = self._remote.answer(_content(manifest, files), self._work)
        try:
            found, samples = read_results(archive)
        except InputError as error:
            raise self._failed(DAMAGED_ANSWER) from error
        self._check(found.fingerprint)
        for reason in found.failures.values():
            raise self._failed(reason)
        self.throttled |= any(one.kind == "throttled" for one in found.noise)
        return samples

    def _ask(self, job: Mapping[str, Any], files: dict[str, Path | bytes]) -> Answer:
        manifest = {"format": FORMAT, "job": job, "settings": self._settings}
        archive = self._remote.answer(_content(manifest, files), self._work)
        try:
            with zipfile.ZipFile(archive) as packed:
                answer = Answer.model_validate_json(packed.read(RESULTS))
        except (OSError, KeyError, zipfile.BadZipFile, ValidationError) as error:
            raise self._failed(DAMAGED_ANSWER) from error
        self._check(answer.fingerprint)
        self.throttled |= answer.throttled
        return answer

    def _check(self, found: Fingerprint) -> None:
        if self._there.host is None:
            return
        differences = host_of(self._there).differences(replace(found, opencv=UNUSED))
        if differences:
            reason = f"it is another host by now ({'; '.join(differences)}); start the run again"
            raise self._failed(reason)

    def _failed(self, reason: str) -> StepError:
        return StepError(f"measuring on {self._there.name}", reason)


@contextlib.contextmanager
def device_at(
    there: There, settings: Mapping[str, Any], tell: Callable[[str], None]
) -> Iterator[Device]:
    """A device and a folder there of its own; ``tell`` receives what it says, and how it was."""

    def told(line: str, name: str) -> None:
        tell(f"{name}: {line}")

    folder = f"{JOBS}/{uuid.uuid4().hex[:12]}"
    remote = Remote(there.name, there.address, there.python, folder, told)
    try:
        with tempfile.TemporaryDirectory() as work:
            device = Device(there, remote, Path(work), settings)
            yield device
        if device.throttled:
            told("its CPU was throttled meanwhile", there.name)
    finally:
        remote.remove()


def _content(manifest: Mapping[str, Any], files: dict[str, Path | bytes]) -> Content:
    return Content({**manifest, "files": sorted(files)}, files)
