"""What a measurement is made of: raw samples as they come, and the result around them."""

from __future__ import annotations

import statistics
from itertools import accumulate
from typing import Annotated, Literal

from pydantic import Field

from prunebench.common.records import FileRef, Interval, Record
from prunebench.config.sections import LatencyConfig
from prunebench.measuring.host.fingerprint import Fingerprint

Kind = Literal["model", "end_to_end"]
PairState = Literal["told apart", "tie", "open", "not asked"]
StopReason = Literal["settled", "rounds", "budget"]
RealTime = Literal["yes", "no", "not shown"]


class Sample(Record):
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


class Pair(Record):
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


class SentinelReport(Record):
    """What the reference model did over the rounds, by its median inference in each.

    ``rounds_off``: off its median by more than ``noise.SENTINEL_LIMIT``; ``worst_off`` and
    ``drift`` (from the first third of the rounds to the last) are signed shares.
    """

    rounds: int
    median_ms: float
    rounds_off: int
    worst_off: float
    drift: float


class Disturbed(Record):
    """Many child runs were disturbed: ``hit`` of ``runs`` beyond the limit.

    ``kind`` is ``stolen`` (CPU time the hypervisor took), ``preempted`` (wall time the measured
    thread was kept from running) or ``busy`` (CPUs others kept busy), ``worst`` the largest share.
    """

    kind: Literal["stolen", "preempted", "busy"]
    hit: int
    runs: int
    worst: float
    limit: float


class Unsteady(Record):
    """Child runs that were throttled, or were on cores of several classes: ``hit`` of ``runs``."""

    kind: Literal["throttled", "migrated"]
    hit: int
    runs: int


class BusyBefore(Record):
    """Other processes kept a share of all CPUs busy just before the start."""

    kind: Literal["busy_before"] = "busy_before"
    share: float
    limit: float
    load_average: float


class SentinelOff(Record):
    """The reference model was off its median in many rounds; ``worst`` is a signed share."""

    kind: Literal["sentinel_off"] = "sentinel_off"
    hit: int
    rounds: int
    worst: float
    limit: float


class SentinelDrift(Record):
    """The reference model's milliseconds moved by a share from the first rounds to the last."""

    kind: Literal["sentinel_slower", "sentinel_faster"]
    share: float
    limit: float


Noise = Annotated[
    Disturbed | Unsteady | BusyBefore | SentinelOff | SentinelDrift, Field(discriminator="kind")
]
"""What was seen on the host that may have falsified a measurement."""


class LatencyResult(Record):
    """One measurement of several variants, with the seed of the rounds' order.

    Attributes:
        imgsz: (height, width) of the letterbox in pixels.
        variants: Name to the sha256 of the ONNX file, in the order asked for.
        failures: Name to the reason it has no figures.
        kind: Durations the stopping rule compared.
        stopped: ``settled`` (no pair was contested any more), ``rounds`` or ``budget``.
        wall_s: Wall time spent in seconds, over all attempts; ``asked_s`` of timed inference asked
            for, without the sentinel's.
        load_average: Over 1, 5 and 15 minutes at the start.
        sentinel: ``None`` with fewer than three rounds.
        samples: The raw samples, JSON lines in the measurement's folder.
    """

    settings: LatencyConfig
    realtime_fps: float
    imgsz: tuple[int, int]
    nc: int
    seed: int
    fingerprint: Fingerprint
    threads: tuple[int, ...]
    variants: dict[str, str]
    failures: dict[str, str]
    kind: Kind
    rounds: int
    stopped: StopReason
    pairs: tuple[Pair, ...]
    wall_s: float
    asked_s: float
    load_average: tuple[float, float, float]
    sentinel: SentinelReport | None
    noise: tuple[Noise, ...]
    samples: FileRef

    @property
    def noisy(self) -> bool:
        """Whether anything was seen that may have falsified the measurement."""
        return bool(self.noise)

    @property
    def overhead(self) -> float:
        """Wall time divided by the timed inference asked for; 1 would be no overhead."""
        return self.wall_s / self.asked_s
