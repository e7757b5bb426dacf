"""The raw samples of a measurement on disk, appended as they come: a kill loses one round."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from prunebench.common.files import write_atomically
from prunebench.measuring.latency.records import Sample

SAMPLES = "samples.jsonl"
PROTOCOL = "protocol.json"


class SampleLog:
    """Samples in ``folder``, continued only when taken under the same protocol.

    It says in plain JSON which samples go together: host, files, session options, durations.
    """

    def __init__(self, folder: Path, protocol: dict[str, Any]) -> None:
        self.path = folder / SAMPLES
        self.samples: list[Sample] = []
        text = json.dumps(protocol, sort_keys=True, indent=1)
        written = folder / PROTOCOL
        if written.is_file() and written.read_text(encoding="utf-8") == text:
            self.samples = read_samples(self.path)
        write_atomically(self.path, _lines(self.samples))
        write_atomically(written, text)

    def extend(self, samples: Sequence[Sample]) -> None:
        """Keep samples, in memory and on disk."""
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(_lines(samples))
        self.samples.extend(samples)

    def has(self, round_index: int, variant: str, threads: int) -> bool:
        """Whether this child run was already done."""
        return any(
            (sample.round, sample.variant, sample.threads) == (round_index, variant, threads)
            for sample in self.samples
        )


def read_samples(path: Path) -> list[Sample]:
    """Samples of a file but a last line that a kill cut short; ValidationError for any other."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    samples = []
    for number, line in enumerate(lines, start=1):
        try:
            samples.append(Sample.model_validate_json(line))
        except ValidationError:
            if number < len(lines):
                raise
    return samples


def _lines(samples: Sequence[Sample]) -> str:
    return "".join(f"{sample.model_dump_json()}\n" for sample in samples)
