"""The results file of a kit, checked in itself."""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from prunebench.common.errors import InputError
from prunebench.common.records import Record
from prunebench.measuring.agent import RESULTS, SAMPLES
from prunebench.measuring.host.fingerprint import Fingerprint
from prunebench.measuring.latency.raw import SENTINEL, Noise, Sample, StopReason
from prunebench.measuring.latency.samples import SAMPLE
from prunebench.measuring.remote.pack import FORMAT

DAMAGED = {"what": "the results are damaged", "fix": "copy them from the device again"}
CLOCK_OFF_S = 120.0
LARGEST = 10**9
"""Bytes of unpacked results beyond which an archive is not what a kit writes."""


class KitResults(Record):
    """What the agent of a kit says beside its samples; ``measuring.agent.measure`` writes it."""

    format: int
    run: str
    made_at: float
    device: str
    protocol: dict[str, Any]
    fingerprint: Fingerprint
    emulator: str | None
    threads: tuple[int, ...]
    failures: dict[str, str]
    frames: bool
    stopped: StopReason
    load_average: tuple[float, float, float]
    noise: tuple[Noise, ...]
    samples: str
    ended_at: float


def read_results(archive: Path) -> tuple[KitResults, list[Sample]]:
    """A results file, checked in itself; InputError where it is damaged."""
    try:
        with zipfile.ZipFile(archive) as packed:
            if sum(entry.file_size for entry in packed.infolist()) > LARGEST:
                raise InputError("it is not what a kit writes", where=archive)
            said = json.loads(packed.read(RESULTS))
            text = packed.read(SAMPLES)
        if isinstance(said, dict) and said.get("format") != FORMAT:
            what, fix = "the results are of another version's kit", "make a kit anew and use it"
            raise InputError(what, where=archive, fix=fix)
        found = KitResults.model_validate(said)
        samples = [SAMPLE.validate_json(line) for line in text.decode().splitlines()]
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError("no such file", where=archive, fix="give a kit's results file") from None
    except KeyError:
        what, fix = "it is not what a kit writes", "give a kit's results file"
        raise InputError(what, where=archive, fix=fix) from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, NotImplementedError) as e:
        raise InputError(DAMAGED["what"], where=archive, fix=DAMAGED["fix"]) from e
    except Exception as error:  # zlib's and lzma's errors are their own
        raise InputError(DAMAGED["what"], where=archive, fix=DAMAGED["fix"]) from error
    names = {SENTINEL, *found.protocol.get("variants", {})}
    measured = {sample.variant for sample in samples}
    if hashlib.sha256(text).hexdigest() != found.samples or not measured <= names or not samples:
        raise InputError(DAMAGED["what"], where=archive, fix=DAMAGED["fix"])
    return found, _in_time(found, samples)


def _in_time(found: KitResults, samples: list[Sample]) -> list[Sample]:
    """Samples at this host's time: a board without a clock starts in another year."""
    first, now = min(sample.started_s for sample in samples), time.time()
    if found.made_at - CLOCK_OFF_S <= first and found.ended_at <= now + CLOCK_OFF_S:
        return samples
    late = now - found.ended_at
    return [replace(one, started_s=round(one.started_s + late, 3)) for one in samples]
