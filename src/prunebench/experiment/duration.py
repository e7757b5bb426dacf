"""How long a run takes: estimated before it from a short try, and learnt while it goes on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prunebench.common.cores import default_threads
from prunebench.common.records import Record
from prunebench.common.text import counted, listed
from prunebench.config.loading import Config
from prunebench.experiment.plan import NETWORK_SUFFIXES, PlannedVariant
from prunebench.experiment.runtimes import runtimes_of
from prunebench.experiment.speed_trial import Pace
from prunebench.results.run_folder import title_of
from prunebench.steps.events import Batch, Epoch, Evaluating, Event, Failed, Finished, Timed
from prunebench.variants.pruning.search import ROUNDS, SECONDS, TRIES

START_S = 5.0  # A child process that imports torch, loads a checkpoint and ends.
EXPORT_S = 4.0
PRUNE_S = 6.0
ROUND_OVERHEAD_S = 0.3  # What a fresh process takes beside the timed seconds asked for.
JOURNEY_S = 5.0  # Files to a device over ssh, and an answer back.

AROUND_S = 30.0  # Checking the inputs, starting Prefect, ranking and the report.
QUICKER, SLOWER = 0.7, 1.4  # A try may be off: pruned networks train faster, a busy host slower.


class Part(Record):
    """Seconds that one kind of work takes, at least and at most."""

    title: str
    low_s: float
    high_s: float


class Estimate(Record):
    """How long a run takes if no finished step can be taken over.

    Time that is not in it: ``quantizes``, leaving layers of an INT8 file in float; ``cluster``,
    training at that address; ``devices``, measuring on hosts that take it from a queue.
    """

    parts: tuple[Part, ...]
    quantizes: bool
    cluster: str | None = None
    devices: tuple[str, ...] = ()

    @property
    def low_s(self) -> float:
        """Least seconds."""
        return sum(part.low_s for part in self.parts)

    @property
    def high_s(self) -> float:
        """Most seconds, as far as can be told."""
        return sum(part.high_s for part in self.parts)


@dataclass(frozen=True)
class Workload:
    """What a run has to do.

    ``epochs`` maps each trained variant to its epochs; ``searches`` of the ``pruned`` networks
    meet a target by measuring; a round of latency takes ``round_s``, ``rounds`` are the fewest and
    most, and after ``budget_s`` only the fewest start.
    """

    epochs: dict[str, int]
    variants: tuple[str, ...]
    pruned: int
    searches: int
    round_s: float
    rounds: tuple[int, int]
    budget_s: float

    @property
    def most_measuring_s(self) -> float:
        """Longest time that measuring takes."""
        least, most = self.rounds
        return max(least * self.round_s, min(most * self.round_s, self.budget_s))


def workload(config: Config, plan: Sequence[PlannedVariant]) -> Workload:
    """Count the work of an experiment."""
    latency = config.latency
    threads, soak_s = latency.threads or default_threads(), 60 * latency.soak_minutes
    seconds = 2 * latency.seconds + (latency.paced_seconds if latency.paced else 0)
    pruned = [
        v
        for v in plan
        if v.goal is not None and v.strategy is None and v.control is None and not v.quantized
    ]
    before = config.prune.training_epochs
    made = [one for v in plan for one in v.trainings]
    epochs = {
        title_of(v): config.retrain.epochs if v.round else before
        for v in made
        if v.strategy is not None
    }
    if config.model.endswith(NETWORK_SUFFIXES):
        epochs["baseline"] = config.baseline.epochs
    if before:
        epochs |= {v.name: before for v in pruned}
    stock = config.retrain.rounds * config.retrain.epochs + epochs.get("baseline", 0)
    epochs |= {v.name: stock for v in plan if v.control == "smaller"}
    lanes = len(plan) + elsewhere_of(config)
    round_s = lanes * len(threads) * (seconds + ROUND_OVERHEAD_S) + ROUND_OVERHEAD_S
    least = max(latency.rounds_min, math.ceil(soak_s / round_s))
    return Workload(
        epochs=epochs,
        variants=tuple(map(title_of, made)),
        pruned=len(pruned),
        searches=sum(v.goal is not None and v.goal.is_measured for v in pruned),
        round_s=round_s,
        rounds=(least, max(least, latency.rounds_max)),
        budget_s=max(soak_s, 60 * latency.budget_minutes),
    )


def elsewhere_of(config: Config) -> int:
    """Variants that are measured in other runtimes, their INT8 siblings apart."""
    return (1 + len(config.prune.goals)) * len(runtimes_of(config))


def parents_of(plan: Sequence[PlannedVariant]) -> dict[str, str | None]:
    """What is made of what, by titles: a training of a round goes on from the same seed's."""
    seeds = {v.name: v.seeds for v in plan}
    return {
        title_of(one): f"{v.parent}{title_of(one).removeprefix(v.name)}"
        if one.seed in seeds.get(v.parent or "", ())
        else v.parent
        for v in plan
        for one in v.trainings
    }


def estimate(
    config: Config,
    plan: Sequence[PlannedVariant],
    pace: Pace,
    *,
    images: tuple[int, int, int],
    slower: float = 1.0,
) -> Estimate:
    """How long a run takes, with ``images`` for training, for validation and for evaluation.

    ``slower``: how many times as long the device that pruning is for takes.
    """
    work = workload(config, plan)
    train, validate, evaluate = images
    epoch_s = training = 0.0
    if pace.train_s is not None:
        epoch_s = train * pace.train_s + validate * pace.validate_s
        training = sum(START_S + count * epoch_s for count in work.epochs.values())
    one_by_one = training / max(1, config.retrain.parallel_trainings)
    # A letterbox of its own takes as many times as long as it has pixels.
    deployed = config.image.hw
    pixels = ((v.imgsz or deployed, len(v.trainings)) for v in plan)
    letterboxes = sum(math.prod(hw) / math.prod(deployed) * files for hw, files in pixels)
    files = len(work.variants) * (EXPORT_S + START_S) + letterboxes * evaluate * pace.infer_s
    there = config.prune.measure_on
    where, journey_s = (f", on {there}", JOURNEY_S) if there else ("", 0.0)
    layers = START_S + pace.layers_s if pace.layers_s else 0.0
    costs = START_S + journey_s + slower * pace.costs_s if pace.costs_s else 0.0
    round_s = 2 * (SECONDS + slower * ROUND_OVERHEAD_S)
    one = EXPORT_S + journey_s + ROUNDS * round_s
    # Where the host is noisy, every try is measured for as long as it may be.
    more = max(0, config.latency.rounds_max - ROUNDS)
    longer = min(60 * config.latency.budget_minutes, TRIES * more * round_s)
    search, longest = work.searches * one, work.searches * (TRIES * one + longer)
    pruning = work.pruned * PRUNE_S
    tried = [
        (
            f"{counted(len(work.epochs), 'training')}, {epoch_s:.0f} s an epoch",
            one_by_one,
            training,
        ),
        ("measuring what each layer matters", layers, layers),
        (f"measuring what each layer costs{where}", costs, costs),
        (f"searching for the target, {TRIES} tries at most{where}", search, longest),
        ("pruning", pruning, pruning),
        ("exporting and evaluating", files, files),
    ]
    classes, most_s = len(config.latency.cores), work.most_measuring_s
    parts = [
        ("checking, starting, ranking", AROUND_S / 2, AROUND_S),
        *((title, QUICKER * low, SLOWER * high) for title, low, high in tried if high),
        ("measuring latency", classes * work.rounds[0] * work.round_s, classes * most_s),
    ]
    if config.over_ssh:
        title = f"measuring latency on {listed([*config.over_ssh])}, at once"
        least_s = JOURNEY_S + work.rounds[0] * work.round_s
        parts.append((title, least_s, JOURNEY_S + SLOWER * max(least_s, most_s)))
    quantizes = config.quantize is not None or "int8" in config.controls
    return Estimate(
        parts=tuple(Part(title=title, low_s=low, high_s=high) for title, low, high in parts),
        quantizes=quantizes,
        cluster=config.address,
        devices=config.queues,
    )


class TimeLeft:
    """The time a run still takes, learnt from its progress events; unknown before an epoch is.

    ``parents``: what failed takes its children with it; ``clock`` rises in seconds.
    """

    def __init__(
        self,
        work: Workload,
        parents: dict[str, str | None],
        *,
        parallel: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._work = work
        self._parents = parents
        self._parallel = parallel
        self._clock = clock
        self._epochs_left: dict[str, float] = dict(work.epochs)
        self._to_make = set(work.variants)
        self._to_evaluate = set(work.variants)
        self._epoch_s: float | None = None
        self._evaluating: dict[str, float] = {}
        self._evaluation_s: list[float] = []
        self._first_round: tuple[int, float] | None = None
        self._round = 0
        self._round_s = work.round_s

    def on_event(self, event: Event) -> None:
        """Take an event of the run into account."""
        match event:
            case Timed():
                self._measured(event.round)
            case _ if event.variant is None:
                pass
            case Epoch() | Batch():
                left: float = event.epochs - event.epoch
                if isinstance(event, Batch) and event.phase == "train":
                    left += 1 - event.batch / event.batches
                self._epochs_left[event.variant] = left
                if event.seconds_left and left > 0:
                    self._epoch_s = event.seconds_left / left
            case Finished():
                self._finished(event.variant, event.step)
            case Failed():
                self._drop(event.variant)
            case Evaluating():
                self._evaluating[event.variant] = self._clock()

    def seconds(self) -> float | None:
        """Seconds left, ``None`` while they cannot be told."""
        if self._first_round is not None:
            return self._measuring_left(*self._first_round)
        waiting = [left for left in self._epochs_left.values() if left > 0]
        if waiting and self._epoch_s is None:
            return None
        training = (self._epoch_s or 0.0) * max(
            sum(waiting) / self._parallel, max(waiting, default=0.0)
        )
        known = self._evaluation_s
        files = EXPORT_S + START_S + (sum(known) / len(known) if known else 0.0)
        starts = START_S * len(self._to_make)
        least, _ = self._work.rounds
        return training + starts + files * len(self._to_evaluate) + least * self._round_s

    @property
    def is_most(self) -> bool:
        """Whether ``seconds`` is an upper end: measuring ends as soon as nothing is contested."""
        return self._first_round is not None and self._round > self._work.rounds[0]

    def _finished(self, variant: str, step: str) -> None:
        if step == "make":
            self._to_make.discard(variant)
            self._epochs_left[variant] = 0.0
            return
        self._to_evaluate.discard(variant)
        began = self._evaluating.pop(variant, None)
        if began is not None:
            self._evaluation_s.append(self._clock() - began)

    def _drop(self, variant: str) -> None:
        gone = {variant}
        for child, parent in self._parents.items():
            if parent in gone:
                gone.add(child)
        self._to_make -= gone
        self._to_evaluate -= gone
        self._epochs_left.update(dict.fromkeys(gone, 0.0))

    def _measured(self, number: int) -> None:
        now = self._clock()
        self._round = number
        if self._first_round is None:
            # A continued measurement does not begin with round 1.
            self._first_round = number, now
        elif number > self._first_round[0]:
            first, ended = self._first_round
            self._round_s = (now - ended) / (number - first)

    def _measuring_left(self, first: int, ended: float) -> float:
        least, most = self._work.rounds
        if self._round <= least:
            return (least - self._round) * self._round_s
        spent = first * self._round_s + self._clock() - ended
        return max(0.0, min((most - self._round) * self._round_s, self._work.budget_s - spent))


def in_words(seconds: float) -> str:
    """ "40 s", "6 min", "2 h 10 min": no finer than an estimate deserves."""
    if seconds < 55:
        return f"{max(5, 5 * math.ceil(seconds / 5))} s"
    minutes = math.ceil(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, rest = divmod(5 * math.ceil(minutes / 5), 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"
