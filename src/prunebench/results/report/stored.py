"""Everything a run keeps on disk that its report is made from."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.common.errors import InputError
from prunebench.common.records import FileRef, TrainingSummary
from prunebench.common.variant_record import VariantRecord
from prunebench.config.loading import Config
from prunebench.measuring.latency.raw import Sample
from prunebench.measuring.latency.records import LatencyResult
from prunebench.measuring.latency.summary import LatencySummary, summarise
from prunebench.results.diagnoses import DIAGNOSES_FILE, Diagnoses, read_diagnoses
from prunebench.results.ranking.records import Ranking
from prunebench.results.run_folder import (
    DEVICES_FILE,
    ENVIRONMENT_FILE,
    LATENCY_FOLDER,
    is_rebenchmark,
    read_environment,
    read_run_config,
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
        missing: Files that are gone or damaged, by their path in the folder: the report is made
            without what they hold.
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
    missing: tuple[str, ...]

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
        """Its raw matches, ``None`` where it has none or they are missing."""
        if variant.accuracy is None or variant.accuracy.detections.path in self.missing:
            return None
        return self.folder / variant.accuracy.detections.path

    def minutes(self, name: str) -> float:
        """What a variant's retraining cost and those it goes on from, with every seed."""
        variant, minutes = self.variant(name), 0.0
        while variant is not None and variant.training and variant.training.strategy != "baseline":
            each = (one.training for one in variant.trainings or (variant,))
            minutes += sum(training.minutes for training in each if training is not None)
            variant = self.variant(variant.parent)
        return minutes

    def retrainings(self, name: str) -> Iterator[TrainingSummary]:
        """A variant's own retraining and those it goes on from, the last first."""
        variant = self.variant(name)
        while variant is not None and variant.training and variant.training.strategy != "baseline":
            yield variant.training
            variant = self.variant(variant.parent)


def read_stored_run(folder: Path, outcome: RunRanking | None = None) -> ReportedRun:
    """Read a run; without ``outcome``, its rankings come from ``ranking.json``.

    Raises:
        InputError: The run is not finished, or what its figures rest on cannot be read.
    """
    # prunebench.results.outcome imports the report, to write it.
    from prunebench.results.outcome import (
        read_latency,
        read_outcome,
        read_ranked_variants,
        read_run_samples,
    )

    config = read_run_config(folder)
    just_ranked = outcome is not None
    outcome = outcome or read_outcome(folder)
    variants = read_ranked_variants(folder, outcome)
    latency = read_latency(folder)
    diagnoses = read_diagnoses(folder)
    missing = [ref.path for ref in _files_of(variants) if not ref.holds(folder)]
    environment: Mapping[str, Any] = {}
    samples: Sequence[Sample] = ()
    summaries: Sequence[LatencySummary] = ()
    try:
        environment = read_environment(folder)
    except InputError:
        missing.append(ENVIRONMENT_FILE)
    try:
        samples = read_run_samples(folder, latency)
        summaries = summarise(latency, folder / LATENCY_FOLDER, level=config.ranking.level)
    except InputError:
        missing.append(f"{LATENCY_FOLDER}/{latency.samples.path}")
    asked = config.devices and not (just_ranked or is_rebenchmark(folder))
    if asked and not (folder / DEVICES_FILE).is_file():
        missing.append(DEVICES_FILE)
    if diagnoses is None and outcome.diagnoses:
        missing.append(f"{LATENCY_FOLDER}/{DIAGNOSES_FILE}")
    curves = {
        variant.name: _curves(folder / training.curves.path)
        for variant in variants
        if (training := variant.training) and training.curves
        if training.curves.path not in missing
    }
    return ReportedRun(
        folder=folder,
        config=config,
        environment=environment,
        variants=variants,
        latency=latency,
        samples=tuple(samples),
        summaries={(s.variant, s.threads): s for s in summaries},
        outcome=outcome,
        diagnoses=diagnoses,
        curves=curves,
        missing=tuple(missing),
    )


def _files_of(variants: Sequence[VariantRecord]) -> Iterator[FileRef]:
    """What the report reads of each variant."""
    for variant in (one for each in variants for one in (each, *each.trainings)):
        if variant.accuracy is not None:
            yield variant.accuracy.detections
        if variant.training is not None and variant.training.curves is not None:
            yield variant.training.curves


def _curves(path: Path) -> Curves:
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, skipinitialspace=True))
    columns = rows[0] if rows else ()
    return {name.strip(): tuple(float(row[name] or "nan") for row in rows) for name in columns}
