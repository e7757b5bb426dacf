"""The raw samples of a measurement, read and checked."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter

from prunebench.measuring.latency.log import read_lines
from prunebench.measuring.latency.raw import Sample

SAMPLE = TypeAdapter(Sample)


def read_samples(path: Path) -> list[Sample]:
    """Samples of a file but a last line that a kill cut short; ValidationError for any other."""
    return read_lines(path, SAMPLE.validate_json)
