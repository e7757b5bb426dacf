"""What rounds handle and find, as plain dataclasses: a device that measures has no pydantic."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

from prunebench.common.plain import Interval, Plain

SENTINEL = "(sentinel)"  # The reference model; no real variant has parentheses in its name.

Kind = Literal["model", "end_to_end"]
PairState = Literal["told apart", "tie", "open", "not asked"]
StopReason = Literal["settled", "rounds", "budget"]
RealTime = Literal["yes", "no", "not shown"]


@dataclass(frozen=True, kw_only=True)
class Sample(Plain):
    """One child run: one variant at one thread count in one round. Durations are raw.

    The children of a round take turns, so the first slice of one was timed beside the first slice
    of every other, and so on. A share or load is of the timed part, and ``None`` off Linux.

    Attributes:
        position: Place in the round's shuffled order, 0 for the first, as the rounds.
        started_s: Unix time the process was started at, in seconds.
        process_s: Wall time its start and its turns took, in seconds; ``elapsed_s`` has its share
            of what the round took besides.
        model_ms: Back-to-back inferences of one letterboxed image, ``model_slices`` of them in
            each slice; wall time, CPU time of all threads and times the kernel took the CPU away
            meanwhile go with them.
        letterbox_ms: Per back-to-back frame, as ``inference_ms`` and ``nms_ms`` (with the masks).
        response_ms: Arrival to result of frames arriving at the real-time rate.
        steal_share: Share of all CPUs' time the hypervisor took.
        other_cores: Cores kept busy by other processes.
        frames_joules: Energy of all CPU packages during the back-to-back frames, where readable.
        cpus: Logical CPUs its main thread was on at the ends of its turns.
        turns_mhz: Clock of that CPU at the end of each turn, as ``turns_celsius`` the hottest zone.
        turns_throttled: Turns in which the kernel or the firmware said that it was throttled.
        rss_base_mb: Resident memory before the session exists, in 10^6 bytes; ``rss_peak_mb`` the
            highest up to the last back-to-back inference.
    """

    round: int
    position: int
    variant: str
    threads: int
    started_s: float
    process_s: float
    elapsed_s: float
    load_ms: float
    first_ms: float
    model_ms: tuple[float, ...]
    model_slices: tuple[int, ...]
    model_wall_s: float
    model_cpu_s: float
    model_preemptions: int
    letterbox_ms: tuple[float, ...] = ()
    inference_ms: tuple[float, ...] = ()
    nms_ms: tuple[float, ...] = ()
    frame_slices: tuple[int, ...] = ()
    response_ms: tuple[float, ...] = ()
    frames_joules: float | None = None
    cpus: tuple[int, ...] = ()
    turns_mhz: tuple[float | None, ...] = ()
    turns_celsius: tuple[float | None, ...] = ()
    turns_throttled: int = 0
    steal_share: float | None
    other_cores: float | None
    rss_base_mb: float
    rss_peak_mb: float
    session: dict[str, str]

    @property
    def frame_ms(self) -> tuple[float, ...]:
        """Whole back-to-back frames: letterbox, inference, NMS and masks together."""
        stages = zip(self.letterbox_ms, self.inference_ms, self.nms_ms, strict=True)
        return tuple(sum(stage) for stage in stages)

    @classmethod
    def of_json(cls, text: str) -> Sample:
        """A sample of a line that was written here; ValueError where it is cut short."""
        values: dict[str, Any] = json.loads(text)
        values |= {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
        return cls(**values)

    def durations(self, kind: Kind) -> tuple[float, ...]:
        """Milliseconds per back-to-back inference or frame."""
        return self.model_ms if kind == "model" else self.frame_ms

    def slice_medians(self, kind: Kind) -> tuple[float, ...]:
        """Median milliseconds of each slice, in the order of the turns."""
        durations = self.durations(kind)
        ends = tuple(accumulate(self.model_slices if kind == "model" else self.frame_slices))
        return tuple(
            statistics.median(durations[begin:end])
            for begin, end in zip((0, *ends), ends, strict=False)
        )


@dataclass(frozen=True)
class Pair(Plain):
    """What the rounds say about two variants, as the stopping rule sees it.

    ``ratio`` is ``first`` by ``second`` at ``stopping.LEVEL``, ``None`` with fewer than 3 rounds.
    State ``tie``: a difference that matters would have shown; ``open``: not settled.
    """

    threads: int
    first: str
    second: str
    ratio: Interval | None
    rounds: int
    state: PairState


@dataclass(frozen=True)
class SentinelReport(Plain):
    """What the reference model did over the rounds, by its median inference in each.

    ``rounds_off``: off its median by more than ``noise.SENTINEL_LIMIT``; ``worst_off`` and
    ``drift`` (from the first third of the rounds to the last) are signed shares.
    """

    rounds: int
    median_ms: float
    rounds_off: int
    worst_off: float
    drift: float


@dataclass(frozen=True, kw_only=True)
class Disturbed(Plain):
    """Many child runs were disturbed: ``hit`` of ``runs`` beyond the limit.

    ``kind`` is ``stolen`` (CPU time the hypervisor took), ``preempted`` (wall time the measured
    thread was kept from running) or ``busy`` (CPUs others kept busy), ``worst`` the largest share.
    """

    kind: Literal["stolen", "preempted", "busy"]
    hit: int
    runs: int
    worst: float
    limit: float


@dataclass(frozen=True, kw_only=True)
class Unsteady(Plain):
    """Child runs that were throttled, or were on cores of several classes: ``hit`` of ``runs``."""

    kind: Literal["throttled", "migrated"]
    hit: int
    runs: int


@dataclass(frozen=True, kw_only=True)
class BusyBefore(Plain):
    """Other processes kept a share of all CPUs busy just before the start."""

    kind: Literal["busy_before"] = "busy_before"
    share: float
    limit: float
    load_average: float


@dataclass(frozen=True, kw_only=True)
class SentinelOff(Plain):
    """The reference model was off its median in many rounds; ``worst`` is a signed share."""

    kind: Literal["sentinel_off"] = "sentinel_off"
    hit: int
    rounds: int
    worst: float
    limit: float


@dataclass(frozen=True, kw_only=True)
class SentinelDrift(Plain):
    """The reference model's milliseconds moved by a share from the first rounds to the last."""

    kind: Literal["sentinel_slower", "sentinel_faster"]
    share: float
    limit: float


Noise = Disturbed | Unsteady | BusyBefore | SentinelOff | SentinelDrift
"""What was seen on the host that may have falsified a measurement."""
