"""The gate: a candidate is measured beside its baseline, and what it loses is judged.

Where the baseline's ONNX file is gone, the candidate alone is measured and compared with the
stored run of the baseline through the reference model, on the same fingerprint only. Accuracy
comes from the detections both runs kept: it does not depend on the day, so the second
measurement only resamples it anew.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from sqlalchemy import select

from prunebench.child import Emit
from prunebench.config import LatencyConfig
from prunebench.errors import InputError, StepError
from prunebench.experiment import Experiment, read_experiment
from prunebench.given_runs import history_url, is_run_folder, recorded
from prunebench.history import (
    Check,
    GateLimits,
    GateResult,
    Store,
    decide,
    judge,
    needs_confirmation,
    paired_checks,
    stored_check,
)
from prunebench.history.reading import find_run, fingerprint_of, log_to_sentinel
from prunebench.history.tables import ResultRow
from prunebench.latency.fingerprint import default_threads, fingerprint
from prunebench.latency.measure import Target, measure
from prunebench.latency.samples import read_samples
from prunebench.latency.sentinel import SENTINEL
from prunebench.latency.stopping import round_medians
from prunebench.map_bootstrap import image_weights, load_detections, mean_ap
from prunebench.outcome import read_outcome
from prunebench.ranking.compare import FEWEST_IMAGES
from prunebench.ranking.measured import Measured, Rounds
from prunebench.records import FileRef, Record, VariantRecord
from prunebench.runs import read_variants
from prunebench.statistics import Array, log_ratios

CANDIDATE, BASELINE = "candidate", "baseline"

Medians = dict[tuple[str, int], dict[int, float]]


class GateReport(Record):
    """What a gate looked at and decided.

    Attributes:
        candidate: The candidate in words.
        baseline: The baseline in words.
        method: Measured side by side, or the candidate alone against a stored run.
        limits: What the candidate was allowed to lose.
        notes: What was not checked, and what may have falsified the measurement.
        result: The decision.
    """

    candidate: str
    baseline: str
    method: Literal["side by side", "stored run"]
    limits: GateLimits
    notes: tuple[str, ...]
    result: GateResult


class Subject(NamedTuple):
    """A variant in a run's folder.

    Attributes:
        folder: The run's folder.
        experiment: The run's experiment.
        variant: The variant.
        best: Whether it was taken because it ranks first.
    """

    folder: Path
    experiment: Experiment
    variant: VariantRecord
    best: bool

    @property
    def title(self) -> str:
        """It in words."""
        return _title(self.variant.name, self.folder.name, self.best)

    @property
    def onnx(self) -> FileRef | None:
        """Its ONNX file, where it is still there as it was made."""
        exported = self.variant.exported
        return exported.onnx if exported and exported.onnx.holds(self.folder) else None

    @property
    def detections(self) -> FileRef | None:
        """Its detections, where they are still there as they were made."""
        accuracy = self.variant.accuracy
        return accuracy.detections if accuracy and accuracy.detections.holds(self.folder) else None


class StoredBaseline(NamedTuple):
    """A variant of a run in the history.

    Attributes:
        title: It in words.
        logs: log(variant / sentinel) of each round, by thread count.
    """

    title: str
    logs: dict[int, Array]


def run_gate(
    candidate: str, baseline: str, limits: GateLimits, work: Path, on_event: Emit
) -> GateReport:
    """Measure and decide; a suspected regression is measured again before it counts.

    Args:
        candidate: ``RUNFOLDER:VARIANT``, or ``RUNFOLDER`` for its best-ranked variant.
        baseline: The same; a run that only the candidate's history knows will do.
        limits: What the candidate may lose.
        work: Folder for the raw samples.
        on_event: Receives ``{"kind": "stage" or "waiting", "text"}``.

    Raises:
        InputError: Candidate or baseline cannot be found, or they cannot be compared.
        StepError: The measurement failed, or was noisy and the candidate's run is strict.
    """
    subject = find_subject(candidate)
    if subject.onnx is None:
        raise InputError(
            f"the ONNX file of {subject.title} is gone or has changed",
            where=subject.folder,
            fix="run the experiment again",
        )
    settings = _settings(subject.experiment.config.latency, limits)
    folder, _ = _split(baseline)
    other = find_subject(baseline) if is_run_folder(str(folder)) else None
    stored = None
    if other is None or other.onnx is None:
        stored = _find_stored(baseline, other, subject, settings)
        shared = tuple(sorted(stored.logs))
        settings = settings.model_copy(update={"threads": shared})
    elif _form(subject) != _form(other):
        raise InputError(
            f"{subject.title} and {other.title} take images of different sizes or tell different "
            "classes apart",
            fix="compare variants of the same letterbox and classes",
        )
    gate = _Gate(subject, other, stored, settings, limits, work, on_event)
    findings = judge(gate.checks(0), limits)
    confirmation = judge(gate.checks(1), limits) if needs_confirmation(findings) else ()
    return GateReport(
        candidate=subject.title,
        baseline=other.title if stored is None and other is not None else stored.title,
        method="side by side" if stored is None else "stored run",
        limits=limits,
        notes=tuple(dict.fromkeys(gate.notes)),
        result=decide(findings, confirmation),
    )


def find_subject(given: str) -> Subject:
    """The variant of a run's folder.

    Raises:
        InputError: There is no such run or variant.
    """
    folder, name = _split(given)
    folder = folder.resolve()
    experiment = read_experiment(folder)
    variants = {variant.name: variant for variant in read_variants(folder)}
    best = name is None
    if name is None:
        rows = read_outcome(folder).rankings[0].rows
        if not rows:
            raise InputError("no variant of the run is ranked", where=folder, fix="name one")
        name = rows[0].name
    if name not in variants:
        raise InputError(
            f"the run has no variant {name}",
            where=folder,
            fix=f"choose among {', '.join(variants)}",
        )
    return Subject(folder, experiment, variants[name], best)


def _split(given: str) -> tuple[Path, str | None]:
    folder, colon, name = given.rpartition(":")
    if not colon or Path(given).is_dir():
        return Path(given), None
    return Path(folder), name


def _title(variant: str, run: str, best: bool) -> str:
    return f"{variant}{', the best-ranked variant' if best else ''} of run {run}"


def _form(subject: Subject) -> tuple[tuple[int, int], dict[int, str]]:
    return subject.experiment.config.image.hw, subject.experiment.class_names


def _settings(settings: LatencyConfig, limits: GateLimits) -> LatencyConfig:
    """The run's settings without paced frames, which no check reads, and no coarser than the
    limit.
    """
    smallest = min(settings.smallest_difference_percent, limits.latency_percent or math.inf)
    return settings.model_copy(
        update={
            "threads": settings.threads or default_threads(),
            "paced": False,
            "smallest_difference_percent": smallest,
        }
    )


def _find_stored(
    given: str, baseline: Subject | None, candidate: Subject, settings: LatencyConfig
) -> StoredBaseline:
    """The baseline's stored rounds at the thread counts asked for.

    Raises:
        InputError: The history does not have them, or they come from another host.
    """
    folder, name = _split(given)
    with Store(history_url(candidate.folder), create=baseline is not None) as store:
        run = recorded(store, str(folder)) if baseline is not None else folder.name
        with store.reading() as session:
            row = find_run(session, run)
            query = select(ResultRow.variant).where(ResultRow.run_id == row.id)
            ranked = session.scalars(query.order_by(ResultRow.threads, ResultRow.rank)).all()
            host = fingerprint_of(session, row)
            logs = log_to_sentinel(session, row.id)
    best = name is None if baseline is None else baseline.best
    if baseline is not None:
        name = baseline.variant.name
    elif name is None and ranked:
        name = ranked[0]
    differences = host.differences(fingerprint(settings))
    if differences:
        raise InputError(
            f"the baseline's file is gone and this is another host ({'; '.join(differences)})",
            where=row.name,
            fix="measure a baseline on this host with `prunebench run`",
        )
    wanted = settings.threads or ()
    found = {count: logs[str(name), count] for count in wanted if (str(name), count) in logs}
    if not found:
        raise InputError(
            f"the history has no rounds of the variant {name} with {wanted} thread(s)",
            where=row.name,
            fix=f"choose among {', '.join(dict.fromkeys(ranked)) or 'other runs'}",
        )
    return StoredBaseline(_title(str(name), row.name, best), found)


@dataclass
class _Gate:
    """One comparison that can be measured several times; ``notes`` gathers what to know of it."""

    candidate: Subject
    baseline: Subject | None
    stored: StoredBaseline | None
    settings: LatencyConfig
    limits: GateLimits
    work: Path
    emit: Emit
    notes: list[str] = field(default_factory=list)

    def checks(self, attempt: int) -> list[Check]:
        """Measure once."""
        again = "" if attempt == 0 else ", once more because a regression is suspected"
        self.emit({"kind": "stage", "text": f"measuring {self.candidate.title}{again}"})
        medians = self._measure(attempt)
        threads = self.settings.threads or ()
        name = self.candidate.variant.name
        checks = []
        if self.stored is not None:
            for count in threads:
                ratios = log_ratios(medians[CANDIDATE, count], medians[SENTINEL, 1])
                logs = self.stored.logs[count]
                checks.append(stored_check(name, count, ratios, logs, self.limits))
            threads = ()
        scores = self._scores(attempt)
        measured = [
            _measured(name, {count: medians[role, count] for count in threads}, score)
            for role, score in zip((CANDIDATE, BASELINE), scores, strict=True)
        ]
        return [*checks, *paired_checks(*measured, threads, self.limits)]

    def _measure(self, attempt: int) -> Medians:
        config = self.candidate.experiment.config
        targets = [_target(CANDIDATE, self.candidate)]
        if self.stored is None and self.baseline is not None:
            targets.append(_target(BASELINE, self.baseline))
        folder = self.work / f"{attempt}"
        result = measure(
            targets,
            _images(self.candidate.experiment, self.settings.images),
            self.settings,
            realtime_fps=config.ranking.realtime_fps,
            imgsz=config.image.hw,
            nc=len(self.candidate.experiment.class_names),
            seed=config.seed + attempt,
            folder=folder,
            who=f"the gate of {self.candidate.title}",
            on_event=self._on_event,
        )
        for role, reason in result.failures.items():
            raise StepError("latency", reason, variant=role)
        if result.noisy and self.settings.strict:
            raise StepError("gate", f"the host was noisy and strict is set: {result.noise[0]}")
        self.notes += [f"The host was noisy: {noise}" for noise in result.noise]
        return round_medians(read_samples(folder / result.samples.path), "model")

    def _on_event(self, event: dict[str, Any]) -> None:
        if event["kind"] == "waiting":
            self.emit(event)
        elif event["kind"] == "sample" and event["run"] == event["runs"]:
            self.emit({"kind": "stage", "text": f"round {event['round']} is measured"})

    def _scores(self, attempt: int) -> tuple[_Scores, _Scores]:
        """Both accuracies, resampled with the same images."""
        pair = (self.candidate, self.baseline)
        reason = _not_comparable(*pair)
        if reason is not None or self.baseline is None:
            self.notes.append(f"Accuracy is not checked: {reason}.")
            return _NO_SCORES, _NO_SCORES
        config = self.candidate.experiment.config
        loaded = [_load(self.candidate), _load(self.baseline)]
        seed = config.seed + attempt
        weights = image_weights(loaded[0].images, config.ranking.bootstrap, seed)
        whole = np.ones((1, loaded[0].images))
        first, second = (
            _Scores(float(mean_ap(d, whole)[0]), mean_ap(d, weights), d.images) for d in loaded
        )
        return first, second
