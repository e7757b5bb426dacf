"""Rounds of fresh processes, side by side and shuffled, until nothing is contested.

In every round each (variant, threads) still of interest is measured once, beside the sentinel, and
in every fourth round the settled ones too. ``together`` lets the processes take turns, so that
ratios paired by round and turn are free of what the host does to all of them alike. This is what a
kit carries to a device: it imports numpy and onnxruntime alone, and OpenCV for frames.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from prunebench.common.cores import default_threads
from prunebench.common.files import sha256_of
from prunebench.measuring.latency.log import SampleLog
from prunebench.measuring.latency.raw import SENTINEL, Kind, Pair, Sample, StopReason
from prunebench.measuring.latency.room import ROOMY_MB, available_mb, fitting
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
    Lane,
    Raw,
    measure_together,
)
from prunebench.measuring.session import Options, SessionSettings

if TYPE_CHECKING:
    from prunebench.measuring.heads.detect import Detect

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
    ``imgsz`` (height, width) a letterbox of its own in pixels, ``options`` those of its session in
    place of the settings', ``runtime`` what it runs in, as ``latency/child.py`` reads it.
    """

    name: str
    onnx: Path
    sha256: str
    slowdown: float = 1.0
    packages: Path | None = None
    imgsz: tuple[int, int] | None = None
    options: Options | None = None
    runtime: Mapping[str, Any] | None = None


def protocol_of(
    targets: Sequence[Target],
    images: Sequence[Path],
    settings: Mapping[str, Any],
    shared: Mapping[str, Any],
) -> dict[str, Any]:
    """What is measured and how, in plain JSON, the host apart: only like samples go together."""
    return {
        **shared,
        "variants": {t.name: t.sha256 for t in targets},
        "slowdowns": {t.name: t.slowdown for t in targets},
        "packages": {t.name: str(t.packages) for t in targets},
        "letterboxes": {t.name: t.imgsz for t in targets},
        "options": {t.name: t.options for t in targets},
        "runtimes": {t.name: t.runtime for t in targets},
        "images": [sha256_of(path) for path in images],
        "slice_s": SLICE_S,
        "settings": {k: v for k, v in settings.items() if k not in STOPPING_SETTINGS},
    }


@dataclass
class Rounds:
    """The loop over rounds. Every decision depends on the samples of earlier rounds alone, so
    that a continued measurement decides as an uninterrupted one does.
    """

    sentinel: Target
    variants: Mapping[str, Target]
    threads: tuple[int, ...]
    cpus: tuple[int, ...] | None
    settings: Mapping[str, Any]
    frames: Sequence[Path]
    shared: Mapping[str, Any]
    work: Path
    log: SampleLog
    told: Callable[[Sequence[Sample], int], None]
    failures: dict[str, str] = field(default_factory=dict)
    _ended: float = field(default_factory=time.perf_counter)
    _at_once: int | None = None

    def __post_init__(self) -> None:
        self._paced_seconds = self.settings["paced_seconds"] if self.settings["paced"] else 0.0

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
            if sum(sample.elapsed_s for sample in past) < self.settings["soak_minutes"] * 60:
                self._measure_round(index, everything)
                continue
            if index >= self.settings["rounds_max"]:
                break
            if is_interim_look(index, self.settings["rounds_min"]):
                wanted = still_open(self.judge(contested, before=index))
                if not wanted:
                    return "settled"
            # The round is taken to last as long as the one before it.
            spent = sum(s.elapsed_s * (2 if s.round == index - 1 else 1) for s in past)
            over = spent > self.settings["budget_minutes"] * 60
            if over and index >= self.settings["rounds_min"]:
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
            self.settings["smallest_difference_percent"],
            contested,
        )

    def at_once(self) -> int:
        """Processes that are alive together: on a small board fewer than ``MOST_AT_ONCE``.

        The largest file is loaded once to see what it takes, where that may matter.
        """
        if self._at_once is None:
            available, self._at_once = available_mb(), MOST_AT_ONCE
            lanes = 1 + len(self.variants) * len(self.threads)
            if available < ROOMY_MB * min(MOST_AT_ONCE, lanes):
                largest = max(self.variants.values(), key=lambda one: one.onnx.stat().st_size)
                lane = Lane(largest.name, self._request(largest, self.threads[0]), largest.packages)
                [raw] = measure_together([lane], SLICE_S, self.work, random.Random(0))
                if isinstance(raw, Raw):
                    self._at_once = fitting(available, raw.figures["rss_peak_mb"])
        return self._at_once

    def asked_s(self) -> float:
        """Seconds of timed inference the child runs so far were asked for."""
        each: float = self.settings["seconds"]
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
        most = self.at_once()
        for begin in range(0, len(due), most):
            self._measure_together(index, due[begin : begin + most], rng)

    def _measure_together(
        self, index: int, due: Sequence[tuple[int, str, int]], rng: random.Random
    ) -> None:
        """Measure (position, name, threads) side by side and keep what came of it."""
        targets = {SENTINEL: self.sentinel, **self.variants}
        lanes = [
            Lane(name, self._request(targets[name], threads), targets[name].packages)
            for _, name, threads in due
        ]
        measured = measure_together(lanes, self.settings["seconds"], self.work, rng)
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
        self.told(samples, len(due))

    def _request(self, target: Target, threads: int) -> dict[str, Any]:
        imgsz = target.imgsz or self.shared["imgsz"]
        letterboxed = input_file(self.work, imgsz)
        request = {
            **self.settings,
            **self.shared,
            "imgsz": imgsz,
            "threads": threads,
            "session": asdict(SessionSettings.among(self.settings)),
            "options": target.options,
            "onnx": str(target.onnx),
            "runtime": target.runtime,
            "slowdown": target.slowdown,
            "cpus": self.cpus,
            "input": str(letterboxed) if letterboxed.is_file() else None,
            "frames": [str(path) for path in self.frames],
            "paced_seconds": self._paced_seconds,
        }
        if target is self.sentinel:
            seconds = min(SENTINEL_SECONDS, self.settings["seconds"])
            request |= {"input": None, "frames": [], "seconds": seconds}
        return request


def threads_of(asked: Sequence[int] | None, cpus: tuple[int, ...] | None) -> tuple[int, ...]:
    """The thread counts that are measured: of a class of cores no more than it has."""
    counts = tuple(asked or default_threads())
    if cpus is None:
        return counts
    return tuple(sorted({min(count, len(cpus)) for count in counts}))


def input_file(work: Path, imgsz: tuple[int, int]) -> Path:
    """The first frame in a letterbox, for inferences alone."""
    return work / f"input-{imgsz[0]}x{imgsz[1]}.npy"


def prepare_frames(
    images: Sequence[Path],
    read: Callable[[Path], NDArray[np.uint8]],
    sizes: Collection[tuple[int, int]],
    work: Path,
    head: Detect,
) -> list[Path]:
    """``read`` the images once, so that no child spends time on it, and letterbox the first."""
    frames = []
    for index, path in enumerate(images):
        image = read(path)
        frames.append(work / f"frame-{index}.npy")
        np.save(frames[-1], image)
        if index == 0:
            for imgsz in sizes:
                np.save(input_file(work, imgsz), head.framed(image, imgsz)[0])
    return frames
