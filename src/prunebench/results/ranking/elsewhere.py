"""Variants in other runtimes, compared with every variant in onnxruntime.

They are measured in the same rounds and scored on the same images, and are a family of comparisons
of their own: whether they are asked for changes no rank, tie or advice.
"""

from __future__ import annotations

from collections.abc import Sequence

from prunebench.common.records import Interval
from prunebench.common.statistics import FEWEST_ROUNDS
from prunebench.results.ranking import records
from prunebench.results.ranking.compare import (
    compare_all,
    display_interval,
    in_both_orders,
    map50_of,
    on_one_footing,
    shown_map50,
)
from prunebench.results.ranking.measured import MeasuredElsewhere, MeasuredVariant
from prunebench.results.ranking.ties import decide, wins_of

MOST_CPU = 1.1
"""CPU time by wall time, of each thread asked for: with more, it has threads of its own."""


def compare_elsewhere(
    ranked: Sequence[MeasuredVariant],
    in_runtimes: Sequence[MeasuredElsewhere],
    threads: int,
    level: float,
    smallest: float,
    interim_looks: int,
) -> tuple[tuple[records.Elsewhere, ...], tuple[records.FailedVariant, ...]]:
    """The variants in other runtimes, the fastest first, and those that are not compared."""
    here = {variant.name: variant for variant in ranked}
    fit, unfit = list[MeasuredElsewhere](), list[records.FailedVariant]()
    for one in in_runtimes:
        if (reason := _unfit(one, here, threads)) is None:
            fit.append(one)
        else:
            name = one.measured.name
            unfit.append(records.FailedVariant(name=name, step="latency", reason=reason))
    measured = [*ranked, *(one.measured for one in fit)]
    footings = on_one_footing(measured, threads)
    names = {one.measured.name for one in fit}
    raws = [r for r in compare_all(measured, footings) if (r.a in names) != (r.b in names)]
    both, wins = in_both_orders(raws), wins_of([*decide(raws, level, smallest, interim_looks)])
    baseline = next((v.name for v in ranked if v.parent is None), None)
    rows = []
    for one in fit:
        name, of = one.measured.name, str(one.measured.parent)

        def ratio(to: str, name: str = name) -> Interval | None:
            found = both["speed", name, to].location
            return None if found is None else found.ratio(level)

        times = ratio(of)
        if times is None:
            reason = "it shares too few rounds with its variant in onnxruntime"
            unfit.append(records.FailedVariant(name=name, step="latency", reason=reason))
            continue
        rows.append(
            records.Elsewhere(
                name=name,
                of=of,
                runtime=one.runtime,
                parity=one.parity,
                int8=one.measured.quantized,
                size_mb=one.measured.size_mb,
                map50=shown_map50(map50_of(one.measured), level),
                latency_ms=footings.latency.level(name).ratio(level),
                fps=(-footings.speed.level(name)).ratio(level, unit=1000),
                times_own=times,
                times_baseline=None if baseline is None else ratio(baseline),
                map50_change=display_interval(both["accuracy", name, of], level),
                rss_mb=one.measured.peak_mb(threads, level),
                faster_than=tuple(v for v in here if ("speed", name, v) in wins),
                slower_than=tuple(v for v in here if ("speed", v, name) in wins),
                more_accurate_than=tuple(v for v in here if ("accuracy", name, v) in wins),
                less_accurate_than=tuple(v for v in here if ("accuracy", v, name) in wins),
            )
        )
    return tuple(sorted(rows, key=lambda row: -row.fps.estimate)), tuple(unfit)


def _unfit(one: MeasuredElsewhere, here: dict[str, MeasuredVariant], threads: int) -> str | None:
    """Why a variant in another runtime is not compared, ``None`` where it is."""
    measured, share = one.measured, one.cpu_share[threads]
    if measured.failure is not None:
        return measured.failure
    if measured.parent not in here:
        return f"{measured.parent} has no figures in onnxruntime"
    if (rounds := measured.rounds(threads)) < FEWEST_ROUNDS:
        return f"{rounds} rounds were measured with {threads} threads, {FEWEST_ROUNDS} are needed"
    if share > MOST_CPU * threads:
        return (
            f"it is not held to the threads asked for, {threads}: its inferences took {share:.2f} "
            "times their wall time of CPU time"
        )
    return None
