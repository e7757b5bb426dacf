"""Figures per variant and thread count, derived from the raw samples alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from prunebench.common.records import Interval, Record
from prunebench.common.statistics import FEWEST_ROUNDS, Footing, locate
from prunebench.measuring.latency import intervals
from prunebench.measuring.latency.raw import RealTime, Sample
from prunebench.measuring.latency.records import LatencyResult
from prunebench.measuring.latency.samples import read_samples
from prunebench.measuring.latency.stopping import on_one_footing, round_medians


class FrameSummary(Record):
    """Whole frames, back to back: letterbox, inference, NMS and masks on real images.

    Percentiles are those the sample supports, a stage's figure the median of the rounds'; energy is
    that of all CPU packages meanwhile, ``None`` where it is not readable.
    """

    fps: Interval
    percentiles_ms: dict[int, float]
    letterbox_ms: float
    inference_ms: float
    nms_ms: float
    joules: Interval | None = None


class PacedSummary(Record):
    """Frames that arrive every ``deadline_ms``, from arrival to result.

    Percentiles are those the sample supports (else ``p95_ms`` is ``None``), ``missed`` the share
    beyond the deadline, 0..1; ``realtime`` goes by the interval of ``p95_ms``.
    """

    frames: int
    deadline_ms: float
    percentiles_ms: dict[int, float]
    p95_ms: Interval | None
    missed: Interval
    realtime: RealTime


class LatencySummary(Record):
    """What a variant costs at one thread count; times in milliseconds, memory in 10^6 bytes.

    ``model_ms`` of back-to-back inferences is on one footing with the other variants' (as the
    frames'); ``load_ms``, ``first_ms`` and memory are medians, ``rss_model_mb`` the part of the
    peak that came with the session. ``frames`` and ``paced`` are ``None`` where none were measured.
    """

    variant: str
    threads: int
    rounds: int
    model_ms: Interval
    model_percentiles_ms: dict[int, float]
    load_ms: float
    first_ms: float
    rss_peak_mb: float
    rss_model_mb: float
    frames: FrameSummary | None
    paced: PacedSummary | None


def summarise(
    result: LatencyResult, folder: Path, *, level: float = 0.95
) -> tuple[LatencySummary, ...]:
    """Summaries of a measurement in ``folder``, in the order asked for, without failed variants."""
    samples = read_samples(folder / result.samples.path)
    names = [name for name in result.variants if name not in result.failures]
    model, frames = (
        on_one_footing(round_medians(samples, kind), names) for kind in ("model", "end_to_end")
    )
    return tuple(
        LatencySummary(
            variant=name,
            threads=threads,
            rounds=len(chosen),
            model_ms=model[threads].level(name).ratio(level),
            model_percentiles_ms=_percentiles([s.model_ms for s in chosen]),
            load_ms=_typical(chosen, lambda s: s.load_ms),
            first_ms=_typical(chosen, lambda s: s.first_ms),
            rss_peak_mb=_typical(chosen, lambda s: s.rss_peak_mb),
            rss_model_mb=_typical(chosen, lambda s: s.rss_peak_mb - s.rss_base_mb),
            frames=_frames(chosen, frames.get(threads), level),
            paced=_paced(chosen, result, level),
        )
        for name in names
        for threads in result.threads
        if (chosen := [s for s in samples if (s.variant, s.threads) == (name, threads)])
    )


def _frames(
    timed: Sequence[Sample], footing: Footing[str] | None, level: float
) -> FrameSummary | None:
    if footing is None:
        return None
    return FrameSummary(
        fps=(-footing.level(timed[0].variant)).ratio(level, unit=1000),
        percentiles_ms=_percentiles([s.frame_ms for s in timed]),
        letterbox_ms=_typical(timed, lambda s: float(np.median(s.letterbox_ms))),
        inference_ms=_typical(timed, lambda s: float(np.median(s.inference_ms))),
        nms_ms=_typical(timed, lambda s: float(np.median(s.nms_ms))),
        joules=_joules(timed, level),
    )


def _joules(timed: Sequence[Sample], level: float) -> Interval | None:
    """Energy of a frame, where every round knows it."""
    spent = [s.frames_joules for s in timed]
    known = [joules / len(s.nms_ms) for joules, s in zip(spent, timed, strict=True) if joules]
    if len(known) < max(FEWEST_ROUNDS, len(timed)):
        return None
    return locate(np.log(known)).ratio(level)


def _paced(samples: Sequence[Sample], result: LatencyResult, level: float) -> PacedSummary | None:
    rounds = [s.response_ms for s in samples if s.response_ms]
    if not rounds:
        return None
    deadline_ms = 1000 / result.realtime_fps
    frames = [len(one) for one in rounds]
    p95 = None
    if 95 in intervals.supported_percentiles(sum(frames)) and len(rounds) > 1:
        p95 = intervals.pooled_percentile(rounds, 95, level, seed=result.seed)
    misses = [sum(response > deadline_ms for response in one) for one in rounds]
    return PacedSummary(
        frames=sum(frames),
        deadline_ms=deadline_ms,
        percentiles_ms=_percentiles(rounds),
        p95_ms=p95,
        missed=intervals.missed_share(misses, frames, level),
        realtime=intervals.realtime_verdict(p95, deadline_ms),
    )


def _percentiles(rounds: Sequence[Sequence[float]]) -> dict[int, float]:
    values = np.concatenate([np.asarray(one) for one in rounds])
    return {
        p: float(np.percentile(values, p, method="median_unbiased"))
        for p in intervals.supported_percentiles(len(values))
    }


def _typical(samples: Sequence[Sample], read: Callable[[Sample], float]) -> float:
    return float(np.median([read(sample) for sample in samples]))
