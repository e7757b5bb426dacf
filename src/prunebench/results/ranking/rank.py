"""Ranking by dominance: a variant stands below those that are shown to be better, no others.

The rank is 1 + the number of variants shown to be more efficient, so ranks read 1, 2=, 2=, 4.
"Cannot be told apart" is not transitive: with A shown above C, and B tied with both, A and B share
rank 1 and C has rank 2. So an equal rank says that neither of two variants has more above it, and
the pairs say which differences are shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from prunebench.common.records import Interval, Overlap
from prunebench.common.statistics import FEWEST_ROUNDS, Array, bootstrap_draws, interval, locate
from prunebench.common.text import listed, percent
from prunebench.config.sections import RankingConfig
from prunebench.results.ranking.advice import advise
from prunebench.results.ranking.compare import FEWEST_IMAGES, Raw, compare_all
from prunebench.results.ranking.controls import against_controls
from prunebench.results.ranking.effects import effects_of
from prunebench.results.ranking.measured import Measured, Rounds
from prunebench.results.ranking.records import (
    Difference,
    FailedVariant,
    Metric,
    NotTrained,
    Pareto,
    RankedVariant,
    Ranking,
    Shown,
)


def rank(
    measured: Sequence[Measured],
    *,
    config: RankingConfig,
    threads: int,
    failures: Sequence[FailedVariant] = (),
    not_trained: Sequence[NotTrained] = (),
    smallest_difference_percent: float = 3.0,
    looks: int = 1,
    warnings: Sequence[str] = (),
    seed: int = 0,
) -> Ranking:
    """Rank variants for one thread count.

    Args:
        measured: The variants, with the same images and the same bootstrap resamples.
        config: Metric, real-time limit, allowed loss of accuracy, level, resamples.
        threads: Thread count whose figures are ranked.
        failures: Variants that have no figures.
        not_trained: Variants that were left out on purpose.
        smallest_difference_percent: Smallest difference that matters, in percent.
        looks: How often the measuring could have stopped on what it saw.
        warnings: What the measuring found wrong with itself; comes first in the result.
        seed: Seed of the bootstrap over rounds.

    Raises:
        ValueError: Variants were evaluated on different images or with different resamples.
    """
    if len({(m.images, len(m.map50_draws)) for m in measured}) > 1:
        raise ValueError("the variants were evaluated on different images")
    usable = [m for m in measured if _rounds_of(m, threads) >= FEWEST_ROUNDS]
    failed = [*failures, *(_unmeasured(m, threads) for m in measured if m not in usable)]
    rng = np.random.default_rng(seed)
    differences, raws = compare_all(
        usable,
        threads=threads,
        config=config,
        smallest_difference=smallest_difference_percent / 100,
        looks=looks,
        rng=rng,
    )
    rows = _rows(usable, differences, raws, config, threads, rng)
    return Ranking(
        threads=threads,
        realtime_fps=config.realtime_fps,
        level=config.level,
        rows=rows,
        failures=tuple(failed),
        not_trained=tuple(not_trained),
        differences=tuple(differences),
        effects=effects_of(usable, raws, differences, config.level),
        advice=advise(rows, differences, config) if rows else (),
        warnings=(*warnings, *_warnings(usable, differences, config.level)),
        against_controls=against_controls(rows, differences),
        metric=config.metric,
    )


def _rounds_of(variant: Measured, threads: int) -> int:
    by_kind = (variant.end_to_end_ms, variant.latency_ms)
    return min(len(rounds.get(threads, {})) for rounds in by_kind)


def _unmeasured(variant: Measured, threads: int) -> FailedVariant:
    found = _rounds_of(variant, threads)
    reason = f"{found} rounds were measured with {threads} threads, {FEWEST_ROUNDS} are needed"
    return FailedVariant(name=variant.name, step="latency", reason=variant.failure or reason)


def _rows(
    measured: Sequence[Measured],
    differences: Sequence[Difference],
    raws: Mapping[tuple[Metric, str, str], Raw],
    config: RankingConfig,
    threads: int,
    rng: np.random.Generator,
) -> tuple[RankedVariant, ...]:
    better = {(d.metric, d.first, d.second) for d in differences if d.told_apart}
    ranks = {
        v.name: 1 + sum(("efficiency", o.name, v.name) in better for o in measured)
        for v in measured
    }
    baseline = next((v for v in measured if v.parent is None), None)
    shared = list(ranks.values())
    rows = []
    for variant in measured:
        names = [other.name for other in measured if other is not variant]
        number = ranks[variant.name]
        fps, fps_draws = _per_second(variant.end_to_end_ms[threads], config, rng)
        latency, _ = _milliseconds(variant.latency_ms[threads], config, rng)
        per_mb = variant.map50_draws * fps_draws / variant.size_mb
        rows.append(
            RankedVariant(
                rank=number,
                label=f"{number}=" if shared.count(number) > 1 else str(number),
                name=variant.name,
                parameters=variant.parameters,
                verdict=variant.verdict,
                size_mb=variant.size_mb,
                map50=interval(variant.map50, variant.map50_draws, config.level),
                latency_ms=latency,
                fps=fps,
                efficiency=interval(
                    variant.map50 * fps.estimate / variant.size_mb, per_mb, config.level
                ),
                map50_per_fps=variant.map50 / fps.estimate,
                realtime=_realtime(variant, threads, fps, config.realtime_fps),
                keeps_accuracy=_keeps_accuracy(variant, baseline, raws, config),
                pareto=_pareto(variant, measured, better),
                tied_with=tuple(
                    name
                    for name in names
                    if ("efficiency", name, variant.name) not in better
                    and ("efficiency", variant.name, name) not in better
                ),
                control=variant.control,
                box_map50=_one_of_both(variant, "box", config.level),
                mask_map50=_one_of_both(variant, "mask", config.level),
            )
        )
    return tuple(sorted(rows, key=lambda row: (row.rank, -row.efficiency.estimate)))


def _one_of_both(variant: Measured, overlap: Overlap, level: float) -> Interval | None:
    if overlap not in variant.both:
        return None
    map50, draws = variant.both[overlap]
    return interval(map50, draws, level)


def _milliseconds(
    rounds: Rounds, config: RankingConfig, rng: np.random.Generator
) -> tuple[Interval, Array]:
    logs = np.log(np.array([rounds[number] for number in sorted(rounds)]))
    draws = np.exp(bootstrap_draws(logs, level=config.level, resamples=config.bootstrap, rng=rng))
    return interval(float(np.exp(locate(logs).centre)), draws, config.level), draws


def _per_second(
    rounds: Rounds, config: RankingConfig, rng: np.random.Generator
) -> tuple[Interval, Array]:
    milliseconds, draws = _milliseconds(rounds, config, rng)
    per_second = 1000 / draws
    return interval(1000 / milliseconds.estimate, per_second, config.level), per_second


def _realtime(variant: Measured, threads: int, fps: Interval, limit: float) -> Shown:
    """The paced verdict; without one, the interval of the back-to-back FPS."""
    paced = variant.realtime.get(threads)
    if paced is not None:
        return paced
    if fps.low >= limit:
        return "yes"
    return "no" if fps.high < limit else "not shown"


def _keeps_accuracy(
    variant: Measured,
    baseline: Measured | None,
    raws: Mapping[tuple[Metric, str, str], Raw],
    config: RankingConfig,
) -> Shown | None:
    allowed = config.max_map50_loss
    if allowed is None or baseline is None:
        return None
    if variant is baseline:
        return "yes"
    raw = raws["accuracy", baseline.name, variant.name]
    loss = interval(raw.estimate, raw.draws, config.level)
    if loss.high <= allowed:
        return "yes"
    return "no" if loss.low > allowed else "not shown"


def _pareto(
    variant: Measured,
    measured: Sequence[Measured],
    better: set[tuple[Metric, str, str]],
) -> Pareto:
    """Membership of the front of mAP50 and FPS, as far as it is shown.

    ``no``: some variant is shown to be better in both, or better in accuracy with the same
    network. ``certain``: against every other variant it is shown to be better in one of them.
    """
    certain = True
    for other in measured:
        if other is variant:
            continue
        wins = {m for m in ("accuracy", "speed") if (m, variant.name, other.name) in better}
        losses = {m for m in ("accuracy", "speed") if (m, other.name, variant.name) in better}
        if len(losses) == 2 or ("accuracy" in losses and variant.is_same_network(other)):
            return "no"
        certain = certain and bool(wins)
    return "certain" if certain else "possible"


def _warnings(
    measured: Sequence[Measured], differences: Sequence[Difference], level: float
) -> list[str]:
    found = []
    for variant in measured:
        count = "" if variant.parameters is None else f" ({variant.parameters:,} parameters)"
        if variant.verdict == "restored":
            found.append(
                f"{variant.name} was restored to the unpruned network{count}: its pruning is lost."
            )
        elif variant.verdict == "altered":
            found.append(f"{variant.name} was altered{count}: {variant.why}")
    by_network: dict[str, list[Measured]] = {}
    for variant in measured:
        if variant.network is not None:
            by_network.setdefault(variant.network, []).append(variant)
    for group in by_network.values():
        if len(group) > 1:
            found.append(
                f"{listed([v.name for v in group])} are the same network: differences in speed "
                "between them cannot come from the models."
            )
    found += _noise_beyond_intervals(differences, level)
    images = min((v.images for v in measured), default=FEWEST_IMAGES)
    if images < FEWEST_IMAGES:
        found.append(
            f"Accuracy rests on {images} images: with fewer than {FEWEST_IMAGES} no difference in "
            "accuracy or efficiency is declared."
        )
    return found


def _noise_beyond_intervals(differences: Sequence[Difference], level: float) -> list[str]:
    """Same networks that were measured apart: something the intervals do not hold."""
    pairs = [d for d in differences if d.same_network and d.metric == "latency"]
    return [
        f"{d.first} and {d.second} are the same network, yet {d.first} measured faster by "
        f"{percent(d.interval)}: smaller differences in speed than that are in doubt, "
        "and so are their weights (denormal values slow some processors)."
        for d in pairs
        if d.interval is not None and d.p * len(pairs) <= 1 - level
    ]
