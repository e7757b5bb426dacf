"""The result of a measurement, around what its rounds handled and found (``raw``)."""

from __future__ import annotations

from prunebench.common.records import FileRef, Record
from prunebench.config.sections import LatencyConfig
from prunebench.measuring.host.fingerprint import Fingerprint
from prunebench.measuring.latency.raw import Kind, Noise, Pair, SentinelReport, StopReason


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
