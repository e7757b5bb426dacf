"""Ranking by dominance: a variant stands below those that are shown to be better, no others."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

from prunebench.common.records import Interval, Overlap
from prunebench.common.statistics import FEWEST_ROUNDS, Footing, add
from prunebench.config.ranking import RankingConfig
from prunebench.measuring.latency.intervals import supported_percentiles
from prunebench.results.ranking import doubts, records
from prunebench.results.ranking.advice import advise
from prunebench.results.ranking.changes import Origins, changes_of, doubts_of_retraining
from prunebench.results.ranking.classes import class_changes, reference_of
from prunebench.results.ranking.compare import (
    FEWEST_IMAGES,
    FLOOR,
    Footings,
    Raws,
    compare_all,
    display_interval,
    in_both_orders,
    log_map50,
    map50_of,
    on_one_footing,
    shown_map50,
)
from prunebench.results.ranking.controls import against_controls
from prunebench.results.ranking.cpu_time import doubts_of_cpu_time
from prunebench.results.ranking.effects import effects_of
from prunebench.results.ranking.elsewhere import compare_elsewhere
from prunebench.results.ranking.letterbox import letterbox_costs
from prunebench.results.ranking.measured import MeasuredElsewhere, MeasuredVariant
from prunebench.results.ranking.ties import Wins, decide, labels_of, ranks_of, tied, wins_of

LEAST_FIRST: tuple[records.Shown, ...] = ("no", "not shown", "yes")

MOST_LOST = 0.5
"""Share of the baseline's mAP50 that a variant may not lose, whatever the limit allows."""


def rank(
    measured: Sequence[MeasuredVariant],
    *,
    config: RankingConfig,
    threads: int,
    failures: Sequence[records.FailedVariant] = (),
    not_trained: Sequence[records.NotTrained] = (),
    smallest_difference_percent: float = 3.0,
    interim_looks: int = 1,
    letterbox: doubts.Letterbox | None = None,
    in_runtimes: Sequence[MeasuredElsewhere] = (),
    failures_elsewhere: Sequence[records.FailedVariant] = (),
) -> records.Ranking:
    """Rank variants for one thread count.

    Args:
        measured: The variants, with the same images and the same bootstrap resamples.
        config: Metric, real-time limit, allowed loss of accuracy, level, resamples.
        threads: Thread count whose figures are ranked.
        failures: Variants that have no figures.
        not_trained: Variants that were left out on purpose.
        smallest_difference_percent: Smallest difference that matters.
        interim_looks: How often the measuring could have stopped on what it saw.
        letterbox: Where it is of another size than the baseline's training.
        in_runtimes: Variants in other runtimes, which are no part of the ranks.
        failures_elsewhere: Those of them that have no figures.

    Raises:
        ValueError: Variants were evaluated on different images or with different resamples.
    """
    if len({(m.images, len(m.map50_draws)) for m in measured}) > 1:
        raise ValueError("the variants were evaluated on different images")
    usable = [m for m in measured if m.rounds(threads) >= FEWEST_ROUNDS]
    failed = [*failures, *(_unmeasured(m, threads) for m in measured if m not in usable)]
    footings = on_one_footing(usable, threads)
    raws = compare_all(usable, footings)
    smallest = smallest_difference_percent / 100
    differences = tuple(decide(raws, config.level, smallest, interim_looks))
    wins, both = wins_of(differences), in_both_orders(raws)
    classes = class_changes(usable, config)
    origins = Origins(usable)
    rows = _rows(usable, origins, wins, both, classes, config, threads, footings)
    costs = letterbox and letterbox_costs(letterbox, usable, both, wins, config)
    unadvised = costs.unadvised if costs else ()
    baseline = None if origins.baseline is None else origins.baseline.name
    cpu_doubts = (
        doubts_of_cpu_time(usable, origins.baseline, smallest, config.level) if threads == 1 else ()
    )
    changes = tuple(changes_of(usable, origins, differences))
    nothing = tuple(_finds_nothing(usable, config.metric))
    elsewhere, unfit = compare_elsewhere(
        usable, in_runtimes, threads, config.level, smallest, interim_looks
    )
    return records.Ranking(
        threads=threads,
        realtime_fps=config.realtime_fps,
        level=config.level,
        smallest_difference_percent=smallest_difference_percent,
        rows=rows,
        failures=tuple(failed),
        not_trained=tuple(not_trained),
        differences=differences,
        effects=tuple(effects_of(usable, both, wins, config.level)),
        advice=() if nothing or not rows else tuple(advise(rows, wins, unadvised, baseline)),
        warnings=(
            *nothing,
            *([costs] if costs else ()),
            *_doubts(usable, differences, config.level),
            *cpu_doubts,
            *_few_frames(usable, threads),
            *doubts_of_retraining(usable, origins, changes),
        ),
        changes=changes,
        against_controls=tuple(against_controls(rows, differences)),
        metric=config.metric,
        max_rss_mb=config.max_rss_mb,
        elsewhere=elsewhere,
        failures_elsewhere=(*failures_elsewhere, *unfit),
    )


def _few_frames(measured: Sequence[MeasuredVariant], threads: int) -> Iterator[doubts.FewFrames]:
    few = {one.name: one.few_frames[threads] for one in measured if threads in one.few_frames}
    if few:
        needed = next(n for n in itertools.count(1) if 95 in supported_percentiles(n))
        yield doubts.FewFrames(names=tuple(few), frames=min(few.values()), needed=needed)


def _unmeasured(variant: MeasuredVariant, threads: int) -> records.FailedVariant:
    found = variant.rounds(threads)
    few = f"{found} rounds were measured with {threads} threads, {FEWEST_ROUNDS} are needed"
    return records.FailedVariant(name=variant.name, step="latency", reason=variant.failure or few)


def _rows(
    measured: Sequence[MeasuredVariant],
    origins: Origins,
    wins: Wins,
    raws: Raws,
    classes: Mapping[str, tuple[records.ClassChange, ...]],
    config: RankingConfig,
    threads: int,
    footings: Footings,
) -> tuple[records.RankedVariant, ...]:
    names = [variant.name for variant in measured]
    ranks = ranks_of(names, wins)
    labels = labels_of(ranks)
    cpu = _cpu_footing(measured, threads)
    rows = []
    for variant in measured:
        name, number = variant.name, ranks[variant.name]
        log_fps = -footings.speed.level(name)
        per_second = log_fps.ratio(config.level, unit=1000)
        efficiency = add(log_map50(variant), log_fps)
        efficient = variant.map50 * per_second.estimate / variant.size_mb
        changes = classes.get(name, ())
        reference = reference_of(variant, measured)
        loses_a_class = any(change.over_limit for change in changes)
        times, gain = _against(variant, origins.baseline, raws, config.level)
        both = {
            overlap: shown_map50(map50, config.level) for overlap, map50 in variant.both.items()
        }
        rss_mb = variant.peak_mb(threads, config.level)
        keeps_accuracy, judged_against = _keeps_accuracy(variant, origins, raws, config)
        rows.append(
            records.RankedVariant(
                rank=number,
                label=labels[name],
                name=name,
                parameters=variant.parameters,
                verdict=variant.verdict,
                size_mb=variant.size_mb,
                map50=shown_map50(map50_of(variant), config.level),
                latency_ms=footings.latency.level(name).ratio(config.level),
                fps=per_second,
                cpu_ms=None if cpu is None else cpu.level(name).ratio(config.level),
                efficiency=_holding(
                    efficient, efficiency.ratio(config.level, unit=1000 / variant.size_mb)
                ),
                map50_per_fps=variant.map50 / per_second.estimate,
                realtime=_realtime(variant, threads, per_second, config.realtime_fps),
                rss_mb=rss_mb,
                keeps_memory=_keeps_memory(rss_mb, config.max_rss_mb),
                keeps_accuracy="no" if loses_a_class else keeps_accuracy,
                judged_against=judged_against,
                confounded=origins.is_confounded(variant),
                pareto=_pareto(variant, measured, wins),
                tied_with=tuple(
                    o for o in names if o != name and tied(wins, "efficiency", name, o)
                ),
                less_efficient_than=tuple(o for o in names if ("efficiency", o, name) in wins),
                rounds=variant.rounds(threads),
                trainings=len(variant.trainings) or 1,
                control=variant.control,
                int8=variant.quantized,
                times_baseline=times,
                map50_change=gain,
                box_map50=both.get("box"),
                mask_map50=both.get("mask"),
                pose_map50=both.get("pose"),
                classes_against=None if reference is None else reference.name,
                class_changes=changes,
            )
        )
    return tuple(sorted(rows, key=lambda row: (row.rank, -row.efficiency.estimate)))


def _cpu_footing(measured: Sequence[MeasuredVariant], threads: int) -> Footing[str] | None:
    """CPU milliseconds, where they are known of every variant."""
    rounds = {variant.name: variant.cpu_ms.get(threads, {}) for variant in measured}
    return Footing(rounds) if all(rounds.values()) else None


def _holding(estimate: float, found: Interval) -> Interval:
    """The interval of an estimate that may be too small for a logarithm."""
    low, high = min(found.low, estimate), max(found.high, estimate)
    return Interval(estimate=estimate, low=low, high=high, level=found.level)


def _realtime(variant: MeasuredVariant, threads: int, fps: Interval, limit: float) -> records.Shown:
    """The paced verdict; without one, the interval of the back-to-back FPS."""
    return variant.realtime.get(threads) or _reaches(fps, limit)


def _reaches(found: Interval, limit: float) -> records.Shown:
    if found.low >= limit:
        return "yes"
    return "no" if found.high < limit else "not shown"


def _keeps_memory(found: Interval | None, limit: float | None) -> records.Shown | None:
    if limit is None:
        return None
    if found is None:
        return "not shown"
    return "yes" if found.high <= limit else "no" if found.low > limit else "not shown"


def _against(
    variant: MeasuredVariant, baseline: MeasuredVariant | None, raws: Raws, level: float
) -> tuple[Interval | None, Interval | None]:
    """FPS by the baseline's, and mAP50 less the baseline's, where there is another baseline."""
    if baseline is None or variant is baseline:
        return None, None
    speed = raws["speed", variant.name, baseline.name].location
    gain = display_interval(raws["accuracy", variant.name, baseline.name], level)
    return None if speed is None else speed.ratio(level), gain


def _keeps_accuracy(
    variant: MeasuredVariant, origins: Origins, raws: Raws, config: RankingConfig
) -> tuple[records.Shown | None, str | None]:
    """Whether the allowed accuracy is kept, and against whom it is kept least.

    Pruning may cost no more than allowed, which is seen beside the unpruned network retrained
    alike. Nor may what is shipped lose more against the baseline, be it by pruning or by a
    retraining that harmed. Without that control the cost of pruning is not shown to be anything.
    """
    allowed, baseline = config.max_map50_loss, origins.baseline
    if allowed is None or baseline is None:
        return None, None
    if variant is baseline:
        return "yes", None
    alike = origins.retrained_alike(variant)
    judged = []
    for other in (baseline,) if alike is None else (alike, baseline):
        gain = display_interval(raws["accuracy", variant.name, other.name], config.level)
        most = min(allowed, MOST_LOST * other.map50)
        judged.append((_reaches(gain, -most), gain.estimate, other.name))
    keeps, _, against = min(judged, key=lambda one: (LEAST_FIRST.index(one[0]), one[1]))
    return "not shown" if keeps == "yes" and origins.is_confounded(variant) else keeps, against


def _pareto(
    variant: MeasuredVariant, measured: Sequence[MeasuredVariant], wins: Wins
) -> records.Pareto:
    """Membership of the front of mAP50 and FPS, as far as it is shown.

    ``no``: some variant is shown to be better in both, or better in accuracy with the same
    network. ``certain``: against every other variant it is shown to be better in one of them.
    """
    metrics: tuple[records.Metric, ...] = ("accuracy", "speed")
    certain = True
    for other in measured:
        if other is variant:
            continue
        losses = [m for m in metrics if (m, other.name, variant.name) in wins]
        if len(losses) == 2 or ("accuracy" in losses and variant.is_same_network(other)):
            return "no"
        certain = certain and any((m, variant.name, other.name) in wins for m in metrics)
    return "certain" if certain else "possible"


def _finds_nothing(
    measured: Sequence[MeasuredVariant], metric: Overlap
) -> Iterator[doubts.FindsNothing]:
    for variant in measured:
        # A class of an image can be guessed.
        floor = 1 / max(len(variant.classes), 1) if metric == "top1" else FLOOR
        if variant.parent is None and variant.map50 < floor:
            yield doubts.FindsNothing(name=variant.name, map50=variant.map50, floor=floor)


def _doubts(
    measured: Sequence[MeasuredVariant], differences: Sequence[records.Difference], level: float
) -> Iterator[doubts.Doubt]:
    for variant in measured:
        if variant.verdict == "restored":
            yield doubts.Restored(name=variant.name)
        elif variant.verdict == "altered" and variant.grounds is not None:
            yield doubts.Altered(name=variant.name, grounds=variant.grounds)
    by_network: dict[str, list[str]] = {}
    for variant in measured:
        if variant.network is not None:
            by_network.setdefault(variant.network, []).append(variant.name)
    yield from (doubts.SameNetwork(names=tuple(n)) for n in by_network.values() if len(n) > 1)
    same = [d for d in differences if d.same_network and d.metric == "latency"]
    for d in same:
        # Measured apart all the same: something that the intervals do not hold.
        if d.interval is not None and d.p * len(same) <= 1 - level:
            yield doubts.MeasuredApart(faster=d.first, other=d.second, difference=d.interval)
    images = min((v.images for v in measured), default=FEWEST_IMAGES)
    if images < FEWEST_IMAGES:
        yield doubts.FewImages(images=images, needed=FEWEST_IMAGES)
