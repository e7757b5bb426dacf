"""Why pruned variants are as fast as they are, as a run keeps it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from prunebench.common.records import Record
from prunebench.measuring.profile import SLOW_PER_MAC, Cause, Diagnosis
from prunebench.results.ranking.records import Ranking
from prunebench.results.run_folder import LATENCY_FOLDER, read_record

DIAGNOSES_FILE = "diagnoses.json"


class Explained(Record):
    """Something is off with a variant."""

    kind: Literal["explained"] = "explained"
    name: str
    cause: Cause


class Unexplained(Record):
    """A variant gains less time than it saves arithmetic, and nothing tells why."""

    kind: Literal["unexplained"] = "unexplained"
    name: str
    times_baseline: float


class Sound(Record):
    """Nothing is off with these; the least and the most an operation takes, times baseline."""

    kind: Literal["sound"] = "sound"
    names: tuple[str, ...]
    least: float
    most: float


class Undiagnosed(Record):
    """A variant could not be profiled, and why."""

    kind: Literal["undiagnosed"] = "undiagnosed"
    name: str
    reason: str


Explanation = Annotated[Explained | Unexplained | Sound | Undiagnosed, Field(discriminator="kind")]


class Diagnoses(Record):
    """Variant to its diagnosis, or to the reason it has none."""

    found: dict[str, Diagnosis]
    failures: dict[str, str]

    def not_faster(self, ranking: Ranking, baseline: str | None) -> Diagnoses:
        """Those of variants that are not shown to be faster end to end than the baseline."""
        speeds = (d for d in ranking.differences if d.metric == "speed" and d.significant)
        faster = {d.first for d in speeds if d.second == baseline}
        return Diagnoses(
            found={name: one for name, one in self.found.items() if name not in faster},
            failures={name: why for name, why in self.failures.items() if name not in faster},
        )

    def explanations(self) -> tuple[Explanation, ...]:
        """What is off with each variant, and with which nothing is."""
        told: list[Explanation] = []
        sound: dict[str, float] = {}
        for name, diagnosis in self.found.items():
            times = diagnosis.times_baseline
            if diagnosis.causes:
                told += [Explained(name=name, cause=cause) for cause in diagnosis.causes]
            elif times > SLOW_PER_MAC:
                told.append(Unexplained(name=name, times_baseline=times))
            else:
                sound[name] = times
        if sound:
            least, most = min(sound.values()), max(sound.values())
            told.append(Sound(names=tuple(sound), least=least, most=most))
        told += [Undiagnosed(name=name, reason=why) for name, why in self.failures.items()]
        return tuple(told)


def read_diagnoses(folder: Path) -> Diagnoses | None:
    """The diagnoses of a run, ``None`` where it was not diagnosed.

    Raises:
        InputError: They cannot be read.
    """
    path = folder / LATENCY_FOLDER / DIAGNOSES_FILE
    if not path.is_file():
        return None
    return read_record(path, Diagnoses, what="the diagnoses cannot be read", fix="run it again")
