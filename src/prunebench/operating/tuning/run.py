"""Tune the session of one variant of a finished run, on the host the run was measured on."""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from prunebench.common.errors import InputError, PrunebenchError, StepError
from prunebench.common.files import write_atomically
from prunebench.common.records import Accuracy, Exported, FileRef, Interval
from prunebench.common.statistics import of_draws
from prunebench.common.variant_record import VariantRecord
from prunebench.config.sections import LatencyConfig
from prunebench.data.dataset import dataset_digest, read_dataset
from prunebench.experiment.inputs import Experiment, read_experiment
from prunebench.experiment.make import accuracy_request
from prunebench.measuring.host.fingerprint import cpus_of, fingerprint_for
from prunebench.measuring.latency.measure import Target, measure
from prunebench.measuring.latency.raw import Noise, Sample
from prunebench.measuring.latency.rounds import threads_of
from prunebench.measuring.latency.samples import read_samples
from prunebench.measuring.latency.stopping import round_medians
from prunebench.measuring.map_bootstrap import Resamples, load_detections
from prunebench.measuring.session import SessionSettings
from prunebench.operating.tuning.changes import Change, changes_of, combined
from prunebench.operating.tuning.choice import LEVEL, OWN, Compared, Shown, choose, judge, shortlist
from prunebench.results.outcome import RunRanking, read_latency, read_outcome
from prunebench.results.report.cards import cards
from prunebench.results.report.stored import read_stored_run
from prunebench.results.run_folder import (
    RANKING_FILE,
    TUNING_FOLDER,
    fitting_together,
    read_run_config,
    read_variant,
)
from prunebench.results.tuned import Setting, Tuned
from prunebench.steps.child import run_child
from prunebench.steps.events import Emit, Event, Stage, Timed, Waiting

SCREENING, CONFIRMING = "screening", "confirming"


class Measured(NamedTuple):
    """What a measurement of several settings came to."""

    compared: Compared
    settings: Mapping[str, Setting]
    rounds: int
    noise: tuple[Noise, ...]
    samples: FileRef


def tune(folder: Path, name: str, other_threads: Sequence[int], on_event: Emit) -> Tuned:
    """Measure the settings, take what is shown to be better, and note it in the run.

    Killed at any moment and called again, it goes on after its last finished round; called again
    when it was done, it measures anew.

    Args:
        folder: A finished run's.
        name: Of its variant.
        other_threads: Thread counts that may be taken in place of the run's first.
        on_event: Receives ``Stage`` and ``Waiting``.

    Raises:
        InputError: There is no such run or variant, it has no ONNX file, or the run was measured
            on another host.
        StepError: The run's own settings cannot be measured.
    """
    outcome = read_outcome(folder)
    tuning = _Tuning.of(folder, name, other_threads, on_event)
    done = next((one for one in outcome.tuned if one.variant == name), None)
    if done is not None and all(ref.holds(folder) for ref in done.samples):
        shutil.rmtree(tuning.home)
    began = time.perf_counter()
    changes, left_out = tuning.changes()
    first = tuning.measure(SCREENING, changes)
    singles = [change for change in changes if change.name in first.settings]
    listed = shortlist(first.compared, [change.name for change in singles])
    combinations = combined(
        [change for each in listed for change in singles if change.name == each]
    )
    tuned = Tuned(
        variant=name,
        threads=tuning.threads,
        session=tuning.session,
        name=None,
        options={},
        screened=tuple(first.settings.values()),
        confirmed=(),
        left_out=left_out,
        rounds=(first.rounds,),
        minutes=0.0,
        noise=first.noise,
        samples=(first.samples,),
    )
    if combinations:
        second = tuning.measure(CONFIRMING, [*combinations.values()])
        tuned = tuning.choose(tuned, second, combinations)
    minutes = (time.perf_counter() - began) / 60
    return _note(folder, outcome, tuned.model_copy(update={"minutes": minutes}))


def _note(folder: Path, outcome: RunRanking, tuned: Tuned) -> Tuned:
    """Keep it in the run's ``ranking.json``, and in the card beside the model."""
    others = tuple(one for one in outcome.tuned if one.variant != tuned.variant)
    outcome = outcome.model_copy(update={"tuned": (*others, tuned)})
    write_atomically(folder / RANKING_FILE, outcome.model_dump_json(indent=2))
    for file, text in cards(read_stored_run(folder, outcome)).items():
        if file.parent.name == tuned.variant:
            write_atomically(file, text)
    return tuned


@dataclass(frozen=True)
class _Tuning:
    """One variant, and how its settings are measured."""

    folder: Path
    experiment: Experiment
    variant: VariantRecord
    exported: Exported
    threads: int
    other_threads: tuple[int, ...]
    emit: Emit

    @classmethod
    def of(cls, folder: Path, name: str, other: Sequence[int], emit: Emit) -> _Tuning:
        """Check what can be told before any work."""
        config = read_run_config(folder).latency
        variant = read_variant(folder, name)
        exported = variant.exported
        if exported is None or not exported.onnx.holds(folder):
            what = f"{name} has no ONNX file, or not the one that was made"
            raise InputError(what, where=folder, fix="choose another variant, or run again")
        differences = read_latency(folder).fingerprint.differences(fingerprint_for(config))
        if differences:
            what = f"the run was measured on another host ({'; '.join(differences)})"
            fix = "tune it there, or measure it here first: prunebench rebenchmark"
            raise InputError(what, where=folder, fix=fix)
        experiment = read_experiment(folder)
        _ = experiment.latency_images
        threads = threads_of(config.threads, cpus_of(config.cores[0]))[0]
        return cls(folder, experiment, variant, exported, threads, tuple(other), emit)

    @property
    def home(self) -> Path:
        """Folder of the raw samples."""
        return self.folder / TUNING_FOLDER / self.variant.name

    @property
    def session(self) -> SessionSettings:
        """The run's own settings."""
        return SessionSettings.of(self.experiment.config.latency)

    def changes(self) -> tuple[list[Change], tuple[str, ...]]:
        """What is tried, and the names of what is not: accuracy could not be judged."""
        every = changes_of(self.session, self.threads, self.other_threads)
        if self._images_are_there:
            return every, ()
        return (
            [change for change in every if not change.arithmetic],
            tuple(change.name for change in every if change.arithmetic),
        )

    @cached_property
    def _images_are_there(self) -> bool:
        """Whether the images and labels that accuracy is of are there as they were."""
        accuracy = self.variant.accuracy
        if accuracy is None or not accuracy.detections.holds(self.folder):
            return False
        try:
            found = dataset_digest(read_dataset(Path(self.experiment.data_yaml)))
        except PrunebenchError:
            return False
        return found == self.experiment.data_digest

    def measure(self, stage: str, changes: Sequence[Change]) -> Measured:
        """Measure changes beside the run's own settings, the screening in few rounds."""
        config = self._config(stage)
        onnx, what = self.exported.onnx, f"{self.variant.name} of run {self.folder.name}"
        self.emit(Stage(what=f"{stage} {len(changes)} settings of {what}"))
        targets = [
            Target(one.name, self.folder / onnx.path, onnx.sha256, options=dict(one.options))
            for one in (Change(OWN, {}), *changes)
        ]
        home = self.home / stage
        result = measure(
            targets,
            self.experiment.latency_images,
            config,
            realtime_fps=self.experiment.config.ranking.realtime_fps,
            imgsz=self.exported.imgsz,
            nc=len(self.experiment.class_names),
            seed=self.experiment.config.seed + (stage == CONFIRMING),
            folder=home,
            who=f"tuning {what}",
            on_event=self._on_event,
        )
        if OWN in result.failures:
            raise StepError("latency", result.failures[OWN], variant=self.variant.name)
        samples = read_samples(home / result.samples.path)
        medians = round_medians(samples, result.kind)
        names = [name for name in result.variants if name not in result.failures]
        compared = Compared.of(
            {name: medians[name, self.threads] for name in names},
            {
                name: {s.round: _session_mb(s) for s in samples if s.variant == name}
                for name in names
            },
        )
        return Measured(
            compared=compared,
            settings={name: _setting(compared, name) for name in names},
            rounds=result.rounds,
            noise=result.noise,
            samples=FileRef.of(home / result.samples.path, self.folder),
        )

    def _config(self, stage: str) -> LatencyConfig:
        """As the run's latency, but in a number of rounds that nothing seen on the way decides."""
        config = self.experiment.config.latency
        rounds = config.rounds_min
        if stage == CONFIRMING:
            rounds = max(rounds, config.rounds_max // 2)
        return config.model_copy(
            update={
                "threads": (self.threads,),
                "rounds_min": rounds,
                "rounds_max": rounds,
                "paced": False,
                "soak_minutes": 0.0,
            }
        )

    def choose(self, tuned: Tuned, second: Measured, combinations: Mapping[str, Change]) -> Tuned:
        """What the second measurement says: the setting taken, its accuracy judged."""
        names = [name for name in combinations if name in second.settings]
        least = self.experiment.config.latency.smallest_difference_percent
        shown = judge(second.compared, names, least)
        refused: list[str] = []
        map50, lost = None, None
        while (name := choose(second.compared, shown, refused)) is not None:
            map50, lost = self._accuracy(combinations[name])
            if lost is None or lost.low <= 0:
                break
            refused.append(name)
            map50, lost = None, None
        return tuned.model_copy(
            update={
                "name": name,
                "options": {} if name is None else dict(combinations[name].options),
                "confirmed": tuple(_judged(one, shown) for one in second.settings.values()),
                "map50": map50,
                "lost": lost,
                "refused": tuple(refused),
                "rounds": (*tuned.rounds, second.rounds),
                "noise": tuple(dict.fromkeys((*tuned.noise, *second.noise))),
                "samples": (*tuned.samples, second.samples),
            }
        )

    def _accuracy(self, change: Change) -> tuple[float | None, Interval | None]:
        """mAP50 under a setting that may compute something else, and what it loses."""
        own = self.variant.accuracy
        if not change.arithmetic or own is None:
            return None, None
        self.emit(Stage(what=f"evaluating {self.variant.name} with {change.name}"))
        request = accuracy_request(self.experiment, self.exported, self.folder)
        request = request.model_copy(update={"options": dict(change.options)})
        config = self.experiment.config
        with tempfile.TemporaryDirectory(prefix="prunebench-tune-") as work:
            plain = run_child("accuracy", request, Path(work), threads=1, on_event=self.emit)
            found = Path(work) / Accuracy.model_validate(plain).detections.path
            now = load_detections(found, config.ranking.metric)
        with fitting_together(self.folder):
            before = load_detections(self.folder / own.detections.path, config.ranking.metric)
            resamples = Resamples(before.target_counts, config.ranking.bootstrap, config.seed)
            old, new = resamples.scores(before), resamples.scores(now)
        lost = of_draws(old.map50 - new.map50, old.draws - new.draws, before.images)
        return new.map50, lost.interval(config.ranking.level)

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Waiting):
            self.emit(event)
        elif isinstance(event, Timed) and event.run == event.runs:
            self.emit(Stage(what=f"round {event.round} is measured"))


def _session_mb(sample: Sample) -> float:
    """What the session needs at its peak, in 10^6 bytes."""
    return sample.rss_peak_mb - sample.rss_base_mb


def _setting(compared: Compared, name: str) -> Setting:
    ms, memory_mb = (math.exp(one.level(name).centre) for one in compared)
    if name == OWN:
        return Setting(name=name, ms=ms, memory_mb=memory_mb)
    time, memory = (one.ratio(name, OWN).ratio(LEVEL) for one in compared)
    return Setting(name=name, ms=ms, memory_mb=memory_mb, time=time, memory=memory)


def _judged(setting: Setting, shown: Mapping[str, Shown]) -> Setting:
    if setting.name not in shown:
        return setting
    found = shown[setting.name]
    return setting.model_copy(update={"faster": found.faster, "smaller": found.smaller})
