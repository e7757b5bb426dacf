"""Why pruned variants are as fast as they are, as a run keeps it."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from prunebench.common.errors import InputError
from prunebench.common.records import Record
from prunebench.common.text import listed
from prunebench.measuring.profile import SLOW_PER_MAC, Diagnosis
from prunebench.results.run_folder import LATENCY_FOLDER

DIAGNOSES_FILE = "diagnoses.json"


class Diagnoses(Record):
    """What was found.

    Attributes:
        found: Variant to its diagnosis.
        failures: Variant to the reason it has none.
    """

    found: dict[str, Diagnosis]
    failures: dict[str, str]

    def sentences(self) -> tuple[str, ...]:
        """What is off with each variant, and with which nothing is."""
        lines = []
        sound = []
        for name, diagnosis in self.found.items():
            lines += [f"{name}: {advice}" for advice in diagnosis.advice]
            if diagnosis.advice:
                continue
            if diagnosis.times_baseline > SLOW_PER_MAC:
                lines.append(
                    f"{name}: an arithmetic operation takes {diagnosis.times_baseline:.2f} times "
                    "as long as in the baseline, and neither its widths, its weights nor its "
                    "operators tell why."
                )
            else:
                sound.append(name)
        if sound:
            times = [self.found[name].times_baseline for name in sound]
            lines.append(
                f"Nothing is off with {listed(sound)}: the widths fit this processor's kernels, "
                "no weight is a denormal number, and an arithmetic operation takes "
                f"{_span(min(times), max(times))} times as long as in the baseline."
            )
        lines += [f"{name} was not diagnosed: {reason}" for name, reason in self.failures.items()]
        return tuple(lines)


def read_diagnoses(folder: Path) -> Diagnoses | None:
    """The diagnoses of a run, ``None`` where it was not diagnosed.

    Raises:
        InputError: They cannot be read.
    """
    path = folder / LATENCY_FOLDER / DIAGNOSES_FILE
    if not path.is_file():
        return None
    try:
        return Diagnoses.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise InputError("the diagnoses cannot be read", where=path, fix="run it again") from error


def _span(low: float, high: float) -> str:
    first, last = f"{low:.2f}", f"{high:.2f}"
    return first if first == last else f"{first} to {last}"
