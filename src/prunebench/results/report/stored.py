"""Everything a run keeps on disk that its report is made from."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from prunebench.common.errors import InputError
from prunebench.common.records import TrainingSummary, VariantRecord
from prunebench.config.loading import Config
from prunebench.measuring.latency.records import LatencyResult, Sample
from prunebench.measuring.latency.samples import read_samples
from prunebench.measuring.latency.summary import LatencySummary, summarise
from prunebench.results.diagnoses import Diagnoses, read_diagnoses
from prunebench.results.ranking.records import Ranking
from prunebench.results.run_folder import (
    ENVIRONMENT_FILE,
    LATENCY_FOLDER,
    read_run_config,
    read_variants,
)

if TYPE_CHECKING:
    from prunebench.results.outcome import RunRanking

Curves = Mapping[str, tuple[float, ...]]
"""Column of Ultralytics' per-epoch CSV to its values."""


@dataclass(frozen=True)
class ReportedRun:
    """A run as read from its folder.

    Attributes:
        environment: Versions and platform, as ``run_folder.environment`` wrote them.
        variants: Every variant, parents before children.
        samples: Raw samples, the sentinel's included.
        summaries: (variant, threads) to the figures derived from them.
        diagnoses: Profiles of the pruned variants, ``None`` where there are none.
        curves: Training curves by variant, for those that have them.
    """

    folder: Path
    config: Config
    environment: Mapping[str, Any]
    variants: tuple[VariantRecord, ...]
    latency: LatencyResult
    samples: tuple[Sample, ...]
    summaries: Mapping[tuple[str, int], LatencySummary]
    outcome: RunRanking
    diagnoses: Diagnoses | None
    curves: Mapping[str, Curves]

    @property
    def ranking(self) -> Ranking:
        """The ranking that is shown first."""
        return self.outcome.rankings[0]

    @property
    def names(self) -> tuple[str, ...]:
        """Every variant by rank, those without one last."""
        ranking = self.ranking
        groups = (ranking.rows, ranking.failures, ranking.not_trained)
        return tuple(variant.name for group in groups for variant in group)

    @property
    def baseline(self) -> VariantRecord | None:
        """The unpruned variant everything is compared with, where the run has one."""
        return next((v for v in self.variants if v.parent is None), None)

    def variant(self, name: str | None) -> VariantRecord | None:
        """The record of a variant, ``None`` where the run keeps none."""
        return next((v for v in self.variants if v.name == name), None)

    def detections(self, variant: VariantRecord) -> Path | None:
        """Its raw matches, ``None`` where it has none or they are gone."""
        if variant.accuracy is None:
            return None
        path = self.folder / variant.accuracy.detections.path
        return path if path.is_file() else None

    def retrainings(self, name: str) -> Iterator[TrainingSummary]:
        """A variant's own retraining and those it goes on from, the last first."""
        variant = self.variant(name)
        while variant is not None and variant.training and variant.training.strategy != "baseline":
            yield variant.training
            variant = self.variant(variant.parent)


def read_stored_run(folder: Path, outcome: RunRanking | None = None) -> ReportedRun:
    """Read a run; without ``outcome``, its rankings come from ``ranking.json``.

    Raises:
        InputError: The run is not finished, or something in it cannot be read.
    """
    # prunebench.results.outcome imports the report, to write it.
    from prunebench.results.outcome import read_latency, read_outcome

    config = read_run_config(folder)
    outcome = read_outcome(folder) if outcome is None else outcome
    variants = read_variants(folder)
    latency = read_latency(folder)
    measured = folder / LATENCY_FOLDER
    file = measured / latency.samples.path
    try:
        samples = read_samples(file)
    except ValidationError as error:
        what = "the latency samples cannot be read"
        raise InputError(what, where=file, fix="run it again") from error
    summaries = summarise(latency, measured, level=config.ranking.level)
    return ReportedRun(
        folder=folder,
        config=config,
        environment=_environment(folder),
        variants=variants,
        latency=latency,
        samples=tuple(samples),
        summaries={(s.variant, s.threads): s for s in summaries},
        outcome=outcome,
        diagnoses=read_diagnoses(folder),
        curves={v.name: c for v in variants if v.training and (c := _curves(folder, v.training))},
    )


def _environment(folder: Path) -> Mapping[str, Any]:
    path = folder / ENVIRONMENT_FILE
    try:
        environment: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError("the environment cannot be read", where=path) from error
    return environment


def _curves(folder: Path, training: TrainingSummary) -> Curves:
    if training.curves is None or not (folder / training.curves.path).is_file():
        return {}
    with (folder / training.curves.path).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, skipinitialspace=True))
    columns = rows[0] if rows else ()
    return {name.strip(): tuple(float(row[name] or "nan") for row in rows) for name in columns}
