"""The raw samples of a measurement on disk, appended as they come: a kill loses one round."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from prunebench.common.files import write_atomically
from prunebench.measuring.latency.raw import Sample

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
            self.samples = read_lines(self.path, Sample.of_json)
        write_atomically(self.path, lines_of(self.samples))
        write_atomically(written, text)

    def extend(self, samples: Sequence[Sample]) -> None:
        """Keep samples, in memory and on disk."""
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(lines_of(samples))
        self.samples.extend(samples)

    def has(self, round_index: int, variant: str, threads: int) -> bool:
        """Whether this child run was already done."""
        return any(
            (sample.round, sample.variant, sample.threads) == (round_index, variant, threads)
            for sample in self.samples
        )


def read_lines(path: Path, parse: Callable[[str], Sample]) -> list[Sample]:
    """Samples of a file but a last line that a kill cut short; ValueError for any other."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    samples = []
    for number, line in enumerate(lines, start=1):
        try:
            samples.append(parse(line))
        except ValueError:
            if number < len(lines):
                raise
    return samples


def lines_of(samples: Sequence[Sample]) -> str:
    """Samples as lines of JSON."""
    return "".join(f"{json.dumps(vars(one), separators=(',', ':'))}\n" for one in samples)
