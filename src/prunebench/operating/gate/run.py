"""The gate: a candidate is measured beside its baseline, and what it loses is judged.

Where the baseline's ONNX file is gone, the candidate alone is measured and compared with the
baseline's stored rounds through the reference model, on the same fingerprint only. Accuracy comes
from the detections both runs kept, so the second measurement only resamples the images anew.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from prunebench.common.cores import default_threads
from prunebench.common.errors import InputError, StepError
from prunebench.common.plain import METRIC_NAMES
from prunebench.common.records import Record
from prunebench.common.text import counted
from prunebench.config.sections import LatencyConfig
from prunebench.measuring.latency.measure import Target, measure
from prunebench.measuring.latency.raw import Noise, Sample
from prunebench.measuring.latency.samples import read_samples
from prunebench.measuring.latency.stopping import round_medians
from prunebench.measuring.map_bootstrap import Resamples, load_detections
from prunebench.operating.gate.decision import (
    Check,
    GateLimits,
    GateResult,
    decide,
    judge,
    memory_check,
    needs_confirmation,
    paired_accuracy,
    paired_latency,
    stored_check,
)
from prunebench.operating.gate.subjects import StoredBaseline, Subject, find_stored, find_subject
from prunebench.results.history.reading import to_sentinel
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_noise
from prunebench.results.ranking.compare import FEWEST_IMAGES
from prunebench.results.run_folder import fitting_together
from prunebench.steps.events import Emit, Event, Stage, Timed, Waiting

CANDIDATE, BASELINE = "candidate", "baseline"


Unchecked = Literal[
    "no detections", "other images", "other settings", "few images", "not predicted"
]


class GateReport(Record):
    """What a gate looked at and decided.

    Attributes:
        method: Both measured side by side, the candidate alone against a stored run, or neither:
            by what a device measured of both.
        unchecked: Why accuracy was not compared, ``None`` where it was.
        images: Images the candidate was evaluated on.
        noise: What may have falsified the measurement.
        trainings: Trainings behind the accuracies that were compared, of the candidate and the
            baseline; 0 where it was not retrained.
    """

    candidate: str
    baseline: str
    method: Literal["side by side", "stored run", "on a device"]
    unchecked: Unchecked | None
    images: int
    noise: tuple[Noise, ...]
    result: GateResult
    trainings: tuple[int, int] = (0, 0)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was not checked and what may have falsified the measurement, in words."""
        obstacles: dict[Unchecked, str] = {
            "no detections": "the detections of one of the two are gone",
            "other images": "the two were evaluated on different images",
            "other settings": "the two were evaluated with different settings",
            "few images": f"{self.images} images are too few, {FEWEST_IMAGES} are needed",
            "not predicted": "one of the two does not predict what ranking.metric is of",
        }
        notes = [f"The host was noisy: {tell_noise(seen, Messages())}." for seen in self.noise]
        if self.unchecked is not None:
            notes.insert(0, f"Accuracy is not checked: {obstacles[self.unchecked]}.")
        elif max(self.trainings) > 1:
            own, others = (max(1, count) for count in self.trainings)
            means = f"{counted(own, 'training')} of the candidate, {others} of the baseline"
            notes.insert(0, f"Accuracies are means over trainings: {means}.")
        elif any(self.trainings):
            notes.insert(0, "One training of each retrained variant: another seed, other files.")
        return tuple(notes)


def run_gate(
    candidate: str, baseline: str, limits: GateLimits, work: Path, on_event: Emit
) -> GateReport:
    """Measure and decide; a suspected regression is measured again before it counts.

    Args:
        candidate: ``RUNFOLDER:VARIANT``, or ``RUNFOLDER`` for its best-ranked variant.
        baseline: The same; a run that only the candidate's history knows will do.
        work: Folder for the raw samples.
        on_event: Receives ``Stage`` and ``Waiting``.

    Raises:
        InputError: Candidate or baseline cannot be found, or they cannot be compared.
        StepError: The measurement failed, or was noisy and the candidate's run is strict.
    """
    first, second = find_subject(candidate), find_subject(baseline)
    if first is None:
        what = "the candidate is not a variant in a run folder"
        raise InputError(what, where=candidate, fix="give RUNFOLDER:VARIANT or RUNFOLDER")
    if first.onnx is None:
        what = f"the ONNX file of {first.title} is gone or has changed"
        raise InputError(what, where=first.folder, fix="run the experiment again")
    if second is not None:
        check_alike(first, second)
    settings = _settings(first.experiment.config.latency, limits)
    stored = None
    if second is None or second.onnx is None:
        stored = find_stored(baseline, first, settings, second)
        settings = settings.model_copy(update={"threads": tuple(sorted(stored.ratios))})
    gate = _Gate(first, second, stored, settings, limits, work, on_event)
    findings = judge(gate.checks(0), limits)
    confirmation = judge(gate.checks(1), limits) if needs_confirmation(findings) else ()
    return GateReport(
        candidate=first.title,
        baseline=gate.baseline_title,
        method="side by side" if stored is None else "stored run",
        unchecked=gate.unchecked,
        images=len(first.experiment.images),
        noise=tuple(gate.noise),
        result=decide(findings, confirmation),
        trainings=(first.trainings, 0 if second is None else second.trainings),
    )


def check_alike(first: Subject, second: Subject) -> None:
    """InputError where two variants do not do the same job."""
    if _form(first) != _form(second):
        what = f"{first.title} and {second.title} differ in input size or classes"
        raise InputError(what, fix="compare variants that do the same job")


def _form(subject: Subject) -> tuple[tuple[int, int], dict[int, str]]:
    exported = subject.variant.exported
    imgsz = subject.experiment.config.image.hw if exported is None else exported.imgsz
    return imgsz, subject.experiment.class_names


def _settings(settings: LatencyConfig, limits: GateLimits) -> LatencyConfig:
    """The run's settings, but without paced frames, which no check reads, and fine enough."""
    limit = limits.latency_percent or math.inf
    return settings.model_copy(
        update={
            "threads": settings.threads or default_threads(),
            "paced": False,
            "soak_minutes": 0.0,
            "smallest_difference_percent": min(settings.smallest_difference_percent, limit),
        }
    )


@dataclass
class _Gate:
    """A comparison that can be measured several times; ``noise`` gathers what disturbed it."""

    candidate: Subject
    baseline: Subject | None
    stored: StoredBaseline | None
    settings: LatencyConfig
    limits: GateLimits
    work: Path
    emit: Emit
    noise: list[Noise] = field(default_factory=list)

    @property
    def baseline_title(self) -> str:
        """The baseline in words."""
        known = self.stored or self.baseline
        return "" if known is None else known.title

    @functools.cached_property
    def unchecked(self) -> Unchecked | None:
        """Why accuracy is not compared, ``None`` where it is."""
        return unchecked(self.candidate, self.baseline)

    def checks(self, attempt: int) -> list[Check]:
        """Measure once, as attempt 0 or, independent of that, 1."""
        again = " again, because a regression is suspected" if attempt else ""
        titles = f"{self.candidate.title} against {self.baseline_title}"
        self.emit(Stage(what=f"measuring {titles}{again}"))
        samples = self._measure(attempt)
        medians = round_medians(samples, "model")
        most_mb = self.candidate.experiment.config.ranking.max_rss_mb
        name, checks = self.candidate.variant.name, []
        for count in self.settings.threads or ():
            candidate = medians[CANDIDATE, count]
            if self.stored is None:
                baseline = medians[BASELINE, count]
                checks += paired_latency(name, count, candidate, baseline, self.limits)
            else:
                ratios = to_sentinel(medians)[CANDIDATE, count], self.stored.ratios[count]
                checks.append(stored_check(name, count, *ratios, self.limits))
            if most_mb is not None:
                own = (s for s in samples if (s.variant, s.threads) == (CANDIDATE, count))
                peaks = {sample.round: sample.rss_peak_mb for sample in own}
                checks.append(memory_check(name, count, peaks, most_mb))
        if self.unchecked is None:
            checks += accuracy_checks(self.candidate, self.baseline, self.limits, attempt)
        return checks

    def _measure(self, attempt: int) -> list[Sample]:
        """What was measured of each role, by its name."""
        experiment = self.candidate.experiment
        roles = {CANDIDATE: self.candidate}
        if self.stored is None and self.baseline is not None:
            roles[BASELINE] = self.baseline
        folder = self.work / f"{attempt}"
        result = measure(
            [
                Target(role, subject.folder / subject.onnx.path, subject.onnx.sha256)
                for role, subject in roles.items()
                if subject.onnx is not None
            ],
            experiment.latency_images,
            self.settings,
            realtime_fps=experiment.config.ranking.realtime_fps,
            imgsz=_form(self.candidate)[0],
            nc=len(experiment.class_names),
            seed=experiment.config.seed + attempt,
            folder=folder,
            who=f"the gate of {self.candidate.title}",
            on_event=self._on_event,
        )
        for role, reason in result.failures.items():
            raise StepError("latency", reason, variant=roles[role].title)
        if result.noise and self.settings.strict:
            noise = "; ".join(tell_noise(seen, Messages()) for seen in result.noise)
            raise StepError("gate", f"the host was noisy and strict is set: {noise}")
        self.noise += [seen for seen in result.noise if seen not in self.noise]
        return read_samples(folder / result.samples.path)

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Waiting):
            self.emit(event)
        elif isinstance(event, Timed) and event.run == event.runs:
            self.emit(Stage(what=f"round {event.round} is measured"))


def accuracy_checks(
    candidate: Subject, baseline: Subject | None, limits: GateLimits, attempt: int
) -> list[Check]:
    """Check of two accuracies, where the detections of both are there."""
    first = candidate.detections
    second = () if baseline is None else baseline.detections
    if not first or not second:
        return []
    config = candidate.experiment.config
    ranking, seed = config.ranking, config.seed + attempt
    with fitting_together(first[0].parent):
        now = [load_detections(path, ranking.metric) for path in first]
        resamples = Resamples(now[0].target_counts, ranking.bootstrap, seed)
        scores = [resamples.scores(one) for one in now]
    with fitting_together(second[0].parent):
        before = [load_detections(path, ranking.metric) for path in second]
        recorded = [resamples.scores(one) for one in before]
        name, images = candidate.variant.name, now[0].images
        called = METRIC_NAMES[ranking.metric]
        return [paired_accuracy(name, scores, recorded, images, limits, called)]


def unchecked(candidate: Subject, baseline: Subject | None) -> Unchecked | None:
    """Why two accuracies say nothing about each other, if so."""
    if baseline is None or not candidate.detections or not baseline.detections:
        return "no detections"
    both = candidate.experiment, baseline.experiment
    images = [(e.data_digest, e.split, len(e.images)) for e in both]
    if images[0] != images[1]:
        return "other images"
    # The split and the number of images were just compared as they turned out.
    settings = [e.config.accuracy.model_dump(exclude={"split", "images"}) for e in both]
    if settings[0] != settings[1]:
        return "other settings"
    if images[0][2] < FEWEST_IMAGES:
        return "few images"
    scores = [one.variant.accuracy for one in (candidate, baseline)]
    metric = both[0].config.ranking.metric
    if any(score is None or metric not in score.by_overlap for score in scores):
        return "not predicted"
    return None
