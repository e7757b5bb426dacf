"""Measure variants side by side: rounds of fresh processes, shuffled, until nothing is contested.

In every round each (variant, threads) still of interest is measured once, beside the sentinel, and
in every fourth round the settled ones too. ``together`` lets the processes take turns, so that
ratios paired by round and turn are free of what the host does to all of them alike.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from prunebench.common.cores import default_threads
from prunebench.common.errors import StepError
from prunebench.common.records import FileRef, sha256_of
from prunebench.config.sections import LatencyConfig
from prunebench.measuring.host.fingerprint import cpus_of, fingerprint
from prunebench.measuring.host.lock import host_lock
from prunebench.measuring.host.sensors import core_classes
from prunebench.measuring.latency.noise import load_before_start, noise_findings, sentinel_report
from prunebench.measuring.latency.records import Kind, LatencyResult, Pair, Sample, StopReason
from prunebench.measuring.latency.samples import SampleLog
from prunebench.measuring.latency.sentinel import SENTINEL, write_sentinel
from prunebench.measuring.latency.stopping import (
    Contested,
    is_interim_look,
    judge_pairs,
    round_medians,
    still_open,
)
from prunebench.measuring.latency.together import (
    MOST_AT_ONCE,
    SLICE_S,
    STEP,
    Lane,
    Raw,
    measure_together,
)
from prunebench.measuring.session import SessionSettings
from prunebench.steps.events import Emit, Timed, Waiting

SENTINEL_FILE = "sentinel.onnx"
REVISITED_EVERY = 4  # Rounds after which settled variants are measured again, too.
SENTINEL_SECONDS = 0.25  # Timed seconds of the sentinel in a round: some 70 inferences.
STOPPING_SETTINGS = (
    "rounds_min",
    "rounds_max",
    "budget_minutes",
    "smallest_difference_percent",
    "soak_minutes",
    "threads",
    "strict",
)
"""Settings that decide how much is measured, not how: samples go together whatever they are."""


class Target(NamedTuple):
    """A variant to measure: the file and what its sha256 must be.

    ``slowdown`` is a factor for ``selftest``, ``packages`` a folder to import libraries from first,
    ``imgsz`` (height, width) a letterbox of its own in pixels.
    """

    name: str
    onnx: Path
    sha256: str
    slowdown: float = 1.0
    packages: Path | None = None
    imgsz: tuple[int, int] | None = None


def measure(
    variants: Sequence[Target],
    images: Sequence[Path],
    config: LatencyConfig,
    *,
    realtime_fps: float,
    imgsz: tuple[int, int],
    nc: int,
    seed: int,
    folder: Path,
    who: str = "a measurement",
    on_event: Emit | None = None,
    exclusive: Callable[[], AbstractContextManager[None]] = nullcontext,
    contested: Contested | None = None,
) -> LatencyResult:
    """Measure the latency of several ONNX files, of unique names, on this host.

    Holds the host's measuring lock meanwhile; ``who`` names the run to others who wait. Killed at
    any moment and called again with the same folder, it continues after the last round that was
    finished, as long as host, files and settings are the same; else it starts anew.

    Args:
        images: For the end-to-end frames. Without any, inferences alone are timed.
        imgsz: (height, width) of the letterbox in pixels, for targets without their own.
        on_event: Receives ``Waiting`` and, after every round for each child, ``Timed``.
        exclusive: Entered with the host's lock held: the flow's own account of who measures.
        contested: Whether the order of two variants is worth more rounds; ``None``: of all.

    Raises:
        DatasetError: An image cannot be read.
        StepError: A file is not what its sha256 says.
        ChildFailed: The process of the sentinel or of every variant failed, or one was
            interrupted. A variant that fails alone is listed in ``failures`` instead.
    """
    emit: Emit = on_event or (lambda event: None)
    # Preparing uses the CPU too, so it waits for a measurement that is under way.
    with host_lock(who, lambda sentence: emit(Waiting(what=sentence))), exclusive():
        for target in variants:
            if sha256_of(target.onnx) != target.sha256:
                reason = f"{target.onnx} changed after it was made"
                raise StepError(STEP, reason, variant=target.name)
        used, cpus = images[: config.images], cpus_of(config.cores[0])
        host = fingerprint(config)
        shared = {"realtime_fps": realtime_fps, "imgsz": imgsz, "nc": nc, "seed": seed}
        protocol = {
            **shared,
            "host": host.digest(),
            "variants": {t.name: t.sha256 for t in variants},
            "slowdowns": {t.name: t.slowdown for t in variants},
            "packages": {t.name: str(t.packages) for t in variants},
            "letterboxes": {t.name: t.imgsz for t in variants},
            "images": [sha256_of(path) for path in used],
            "slice_s": SLICE_S,
            "settings": config.model_dump(mode="json", exclude=set(STOPPING_SETTINGS)),
        }
        work = folder / "work"
        work.mkdir(parents=True, exist_ok=True)
        try:
            write_sentinel(work / SENTINEL_FILE)
            rounds = _Rounds(
                sentinel=Target(SENTINEL, work / SENTINEL_FILE, ""),
                variants={target.name: target for target in variants},
                threads=_threads(config, cpus),
                cpus=cpus,
                config=config,
                frames=_prepare_frames(used, {t.imgsz or imgsz for t in variants}, work),
                shared=shared,
                work=work,
                log=SampleLog(folder, json.loads(json.dumps(protocol))),
                emit=emit,
            )
            load_average = os.getloadavg()
            # In a continued run the samples so far show the load.
            noise = [] if rounds.log.samples else load_before_start()
            stopped = rounds.run(contested)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    samples = rounds.log.samples
    return LatencyResult(
        settings=config,
        **shared,
        fingerprint=host,
        threads=rounds.threads,
        variants=protocol["variants"],
        failures=rounds.failures,
        kind=rounds.kind,
        rounds=1 + max(sample.round for sample in samples),
        stopped=stopped,
        pairs=rounds.judge(contested),
        wall_s=sum(sample.elapsed_s for sample in samples),
        asked_s=rounds.asked_s(),
        load_average=load_average,
        sentinel=sentinel_report(samples),
        noise=(*noise, *noise_findings(samples, os.cpu_count() or 1, core_classes())),
        samples=FileRef.of(rounds.log.path, folder),
    )


@dataclass
class _Rounds:
    """The loop over rounds. Every decision depends on the samples of earlier rounds alone, so
    that a continued measurement decides as an uninterrupted one does.
    """

    sentinel: Target
    variants: Mapping[str, Target]
    threads: tuple[int, ...]
    cpus: tuple[int, ...] | None
    config: LatencyConfig
    frames: Sequence[Path]
    shared: Mapping[str, Any]
    work: Path
    log: SampleLog
    emit: Emit
    failures: dict[str, str] = field(default_factory=dict)
    _ended: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self._paced_seconds = self.config.paced_seconds if self.config.paced else 0.0

    @property
    def kind(self) -> Kind:
        """Durations the stopping rule compares: whole frames, where there are any."""
        return "end_to_end" if self.frames else "model"

    def run(self, contested: Contested | None) -> StopReason:
        """Measure round after round; says why it stopped."""
        everything = frozenset(itertools.product(self.variants, self.threads))
        wanted = everything
        for index in itertools.count():
            past = [sample for sample in self.log.samples if sample.round < index]
            if sum(sample.elapsed_s for sample in past) < self.config.soak_minutes * 60:
                self._measure_round(index, everything)
                continue
            if index >= self.config.rounds_max:
                break
            if is_interim_look(index, self.config.rounds_min):
                wanted = still_open(self.judge(contested, before=index))
                if not wanted:
                    return "settled"
            # The round is taken to last as long as the one before it.
            spent = sum(s.elapsed_s * (2 if s.round == index - 1 else 1) for s in past)
            over = spent > self.config.budget_minutes * 60
            if over and index >= self.config.rounds_min:
                return "budget"
            # The host's state lasts for minutes and slows one network more than another: rounds
            # from the beginning alone would hold a settled variant to the state of that time.
            revisited = (index + 1) % REVISITED_EVERY == 0
            self._measure_round(index, everything if revisited else wanted)
        return "rounds" if still_open(self.judge(contested)) else "settled"

    def judge(self, contested: Contested | None, before: int | None = None) -> tuple[Pair, ...]:
        """Every pair of the variants that did not fail, by the rounds before ``before``."""
        past = [s for s in self.log.samples if before is None or s.round < before]
        return judge_pairs(
            round_medians(past, self.kind),
            [name for name in self.variants if name not in self.failures],
            self.threads,
            self.config.smallest_difference_percent,
            contested,
        )

    def asked_s(self) -> float:
        """Seconds of timed inference the child runs so far were asked for."""
        each = self.config.seconds
        if self.frames:
            each += each + self._paced_seconds
        return each * sum(sample.variant != SENTINEL for sample in self.log.samples)

    def _measure_round(self, index: int, wanted: Collection[tuple[str, int]]) -> None:
        everything = [(SENTINEL, 1), *itertools.product(self.variants, self.threads)]
        order = [run for run in everything if run in wanted or run[0] == SENTINEL]
        rng = random.Random(f"{self.shared['seed']} {index}")
        rng.shuffle(order)
        due = [
            (position, name, threads)
            for position, (name, threads) in enumerate(order)
            if name not in self.failures and not self.log.has(index, name, threads)
        ]
        for begin in range(0, len(due), MOST_AT_ONCE):
            self._measure_together(index, due[begin : begin + MOST_AT_ONCE], rng)

    def _measure_together(
        self, index: int, due: Sequence[tuple[int, str, int]], rng: random.Random
    ) -> None:
        """Measure (position, name, threads) side by side and keep what came of it."""
        targets = {SENTINEL: self.sentinel, **self.variants}
        lanes = [
            Lane(name, self._request(targets[name], threads), targets[name].packages)
            for _, name, threads in due
        ]
        measured = measure_together(lanes, self.config.seconds, self.work, rng)
        done = []
        for run, raw in zip(due, measured, strict=True):
            if isinstance(raw, Raw):
                done.append((run, raw))
                continue
            self.failures[run[1]] = raw.reason
            if run[1] == SENTINEL or len(self.failures) == len(self.variants):
                raise raw
        before, self._ended = self._ended, time.perf_counter()
        spare_s = max(0.0, self._ended - before - sum(raw.process_s for _, raw in done))
        samples = [
            Sample(
                round=index,
                position=position,
                variant=name,
                threads=threads,
                started_s=round(raw.started_s, 3),
                process_s=round(raw.process_s, 3),
                elapsed_s=round(raw.process_s + spare_s / len(done), 6),
                **raw.figures,
            )
            for (position, name, threads), raw in done
        ]
        self.log.extend(samples)
        for sample in samples:
            self.emit(
                Timed(
                    round=index + 1,
                    run=sample.position + 1,
                    runs=len(due),
                    variant=sample.variant,
                    threads=sample.threads,
                    model_ms=float(np.median(sample.model_ms)),
                )
            )

    def _request(self, target: Target, threads: int) -> dict[str, Any]:
        imgsz = target.imgsz or self.shared["imgsz"]
        request = {
            **self.config.model_dump(mode="json"),
            **self.shared,
            "imgsz": imgsz,
            "threads": threads,
            "session": asdict(SessionSettings.of(self.config)),
            "onnx": str(target.onnx),
            "slowdown": target.slowdown,
            "cpus": self.cpus,
            "input": str(_input_file(self.work, imgsz)) if self.frames else None,
            "frames": [str(path) for path in self.frames],
            "paced_seconds": self._paced_seconds,
        }
        if target is self.sentinel:
            seconds = min(SENTINEL_SECONDS, self.config.seconds)
            request |= {"input": None, "frames": [], "seconds": seconds}
        return request


def _threads(config: LatencyConfig, cpus: tuple[int, ...] | None) -> tuple[int, ...]:
    """The thread counts that are measured: of a class of cores no more than it has."""
    asked = config.threads or default_threads()
    if cpus is None:
        return asked
    return tuple(sorted({min(count, len(cpus)) for count in asked}))


def _input_file(work: Path, imgsz: tuple[int, int]) -> Path:
    """The first frame in a letterbox, for inferences alone."""
    return work / f"input-{imgsz[0]}x{imgsz[1]}.npy"


def _prepare_frames(
    images: Sequence[Path], sizes: Collection[tuple[int, int]], work: Path
) -> list[Path]:
    """Decode the images once, so that no child spends time on it, and letterbox the first."""
    if not images:
        return []
    from prunebench.data.images import usable_image
    from prunebench.measuring.postprocess import letterbox

    frames = []
    for index, path in enumerate(images):
        image = usable_image(path)
        frames.append(work / f"frame-{index}.npy")
        np.save(frames[-1], image)
        if index == 0:
            for imgsz in sizes:
                np.save(_input_file(work, imgsz), letterbox(image, imgsz)[0])
    return frames
