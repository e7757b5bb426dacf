"""Figures per variant and thread count, derived from the raw samples alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from prunebench.common.records import Interval, Record
from prunebench.measuring.latency.intervals import (
    geometric_interval,
    missed_share,
    pooled_percentile,
    realtime_verdict,
    supported_percentiles,
)
from prunebench.measuring.latency.records import Kind, LatencyResult, RealTime, Sample
from prunebench.measuring.latency.samples import read_samples
from prunebench.measuring.latency.stopping import round_medians


class FrameSummary(Record):
    """Whole frames, back to back: letterbox, inference, NMS and masks on real images.

    Attributes:
        fps: Frames per second: 1000 / typical frame in ms.
        percentiles_ms: Percentile to value over all frames, where the sample supports it.
        letterbox_ms: Median over rounds of the stage's median, and so the next two.
        inference_ms: Median stage.
        nms_ms: Median stage, the masks of a segmentation network included.
    """

    fps: Interval
    percentiles_ms: dict[int, float]
    letterbox_ms: float
    inference_ms: float
    nms_ms: float


class PacedSummary(Record):
    """Frames that arrive at the real-time rate, from arrival to result.

    Attributes:
        frames: Frames that arrived.
        deadline_ms: Time between two of them.
        percentiles_ms: Percentile to value over all frames, where the sample supports it.
        p95_ms: The 95th percentile with its interval, ``None`` where not supported.
        missed: Share of the frames that missed the deadline, 0..1.
        realtime: Whether the real-time limit is held, by the interval of ``p95_ms``.
    """

    frames: int
    deadline_ms: float
    percentiles_ms: dict[int, float]
    p95_ms: Interval | None
    missed: Interval
    realtime: RealTime


class LatencySummary(Record):
    """What a variant costs at one thread count; times in milliseconds.

    Attributes:
        variant: Its name.
        threads: ``intra_op_num_threads``.
        rounds: Rounds it was measured in.
        model_ms: Typical back-to-back inference: trimmed geometric mean of the rounds.
        model_percentiles_ms: Percentile to value over all inferences, where the sample
            supports it.
        load_ms: Median time to create the session.
        first_ms: Median first inference.
        rss_peak_mb: Median over rounds of the child's peak resident memory, in 10^6 bytes.
        rss_model_mb: The part of it that came with the session and its inferences.
        frames: End-to-end frames, ``None`` where none were measured.
        paced: Paced frames, ``None`` where none were measured.
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
    """Summaries by variant and thread count, in the order asked for; failed variants left out.

    Args:
        result: The measurement.
        folder: Its folder, with the raw samples.
        level: Confidence level of the intervals.
    """
    samples = read_samples(folder / result.samples.path)
    model, frames = round_medians(samples, "model"), round_medians(samples, "end_to_end")
    return tuple(
        _summary(
            chosen,
            (model[name, threads], frames.get((name, threads), {})),
            1000 / result.realtime_fps,
            level,
            result.seed,
        )
        for name in result.variants
        if name not in result.failures
        for threads in result.threads
        if (chosen := [s for s in samples if (s.variant, s.threads) == (name, threads)])
    )


def per_round(
    samples: Iterable[Sample], variant: str, threads: int, kind: Kind
) -> dict[int, float]:
    """Typical milliseconds of each round the variant was measured in, for paired comparisons.

    ``samples`` are those of all variants.
    """
    return round_medians(samples, kind).get((variant, threads), {})


def _summary(
    samples: Sequence[Sample],
    rounds: tuple[dict[int, float], dict[int, float]],
    deadline_ms: float,
    level: float,
    seed: int,
) -> LatencySummary:
    model, frames = rounds
    timed = [s for s in samples if s.inference_ms]
    paced = [s.response_ms for s in samples if s.response_ms]
    return LatencySummary(
        variant=samples[0].variant,
        threads=samples[0].threads,
        rounds=len(model),
        model_ms=geometric_interval(list(model.values()), level),
        model_percentiles_ms=_percentiles([s.model_ms for s in samples]),
        load_ms=_typical(samples, lambda s: s.load_ms),
        first_ms=_typical(samples, lambda s: s.first_ms),
        rss_peak_mb=_typical(samples, lambda s: s.rss_peak_mb),
        rss_model_mb=_typical(samples, lambda s: s.rss_peak_mb - s.rss_base_mb),
        frames=_frames(timed, list(frames.values()), level) if timed else None,
        paced=_paced(paced, deadline_ms, level, seed) if paced else None,
    )


def _frames(samples: Sequence[Sample], rounds: Sequence[float], level: float) -> FrameSummary:
    typical = geometric_interval(rounds, level)
    return FrameSummary(
        fps=Interval(
            estimate=1000 / typical.estimate,
            low=1000 / typical.high,
            high=1000 / typical.low,
            level=level,
        ),
        percentiles_ms=_percentiles([s.frame_ms for s in samples]),
        letterbox_ms=_typical(samples, lambda s: float(np.median(s.letterbox_ms))),
        inference_ms=_typical(samples, lambda s: float(np.median(s.inference_ms))),
        nms_ms=_typical(samples, lambda s: float(np.median(s.nms_ms))),
    )


def _paced(
    rounds: Sequence[Sequence[float]], deadline_ms: float, level: float, seed: int
) -> PacedSummary:
    count = sum(len(one) for one in rounds)
    p95 = None
    if 95 in supported_percentiles(count) and len(rounds) > 1:
        p95 = pooled_percentile(rounds, 95, level, seed=seed)
    misses = [sum(response > deadline_ms for response in one) for one in rounds]
    return PacedSummary(
        frames=count,
        deadline_ms=deadline_ms,
        percentiles_ms=_percentiles(rounds),
        p95_ms=p95,
        missed=missed_share(misses, [len(one) for one in rounds], level),
        realtime=realtime_verdict(p95, deadline_ms),
    )


def _percentiles(rounds: Sequence[Sequence[float]]) -> dict[int, float]:
    values = np.concatenate([np.asarray(one) for one in rounds])
    return {
        p: float(np.percentile(values, p, method="median_unbiased"))
        for p in supported_percentiles(len(values))
    }


def _typical(samples: Sequence[Sample], read: Callable[[Sample], float]) -> float:
    return float(np.median([read(sample) for sample in samples]))
