"""Which variant to ship for which use: limits first, then the figure that matters."""

from __future__ import annotations

from collections.abc import Sequence

from prunebench.common.text import listed
from prunebench.config.sections import RankingConfig
from prunebench.results.ranking.records import Advice, Difference, Metric, RankedVariant, Use
from prunebench.results.ranking.text import MAP50_NAME

PREFERENCE: dict[Use, tuple[Metric, Metric]] = {
    "real-time": ("speed", "accuracy"),
    "balance": ("efficiency", "accuracy"),
    "accuracy": ("accuracy", "speed"),
}
"""The metric that decides, and the one that decides between ties."""

SUPERLATIVE: dict[Metric, str] = {
    "speed": "fastest",
    "accuracy": "most accurate",
    "efficiency": "most efficient",
}


def advise(
    rows: Sequence[RankedVariant], differences: Sequence[Difference], config: RankingConfig
) -> tuple[Advice, ...]:
    """Advice for each use.

    Variants shown to lose more accuracy than allowed are no candidates. For real-time use and
    for balance a candidate must be shown to keep the real-time limit. Among those the best in
    the deciding metric is recommended; of several that cannot be told apart from it, one that is
    shown to be better in the second metric.
    """
    better = {(d.metric, d.first, d.second) for d in differences if d.told_apart}
    accurate = [row for row in rows if row.keeps_accuracy != "no"]
    return tuple(_advise(use, accurate, better, config) for use in PREFERENCE)


def _advise(
    use: Use,
    accurate: Sequence[RankedVariant],
    better: set[tuple[Metric, str, str]],
    config: RankingConfig,
) -> Advice:
    candidates = accurate
    if use != "accuracy":
        candidates = [row for row in accurate if row.realtime == "yes"]
    if not candidates:
        return _none(use, accurate, config.realtime_fps)
    decides, breaks_ties = PREFERENCE[use]
    first = max(candidates, key=lambda row: _figure(row, decides))
    level = [row for row in candidates if (decides, first.name, row.name) not in better]
    chosen = first
    for row in sorted(level, key=lambda row: _figure(row, breaks_ties), reverse=True):
        if (breaks_ties, row.name, chosen.name) in better:
            chosen = row
            break
    tied = tuple(
        row.name
        for row in level
        if row is not chosen and (breaks_ties, chosen.name, row.name) not in better
    )
    return Advice(
        use=use,
        recommended=chosen.name,
        tied=tied,
        sentence=_sentence(use, chosen, first, tied, config),
    )


def _figure(row: RankedVariant, metric: Metric) -> float:
    if metric == "accuracy":
        return row.map50.estimate
    return row.fps.estimate if metric == "speed" else row.efficiency.estimate


def _none(use: Use, accurate: Sequence[RankedVariant], realtime_fps: float) -> Advice:
    open_cases = [row.name for row in accurate if row.realtime == "not shown"]
    text = f"no variant that keeps its accuracy is shown to keep {realtime_fps:g} FPS"
    if use == "accuracy":
        text = "every variant is shown to lose more accuracy than allowed"
    elif open_cases:
        text += f"; it is not shown either way for {listed(open_cases)}"
    return Advice(use=use, recommended=None, tied=(), sentence=f"{_heading(use)}: {text}.")


def _heading(use: Use) -> str:
    return {
        "real-time": "Real-time first",
        "balance": "Balance of accuracy, speed and size",
        "accuracy": "Accuracy first",
    }[use]


def _sentence(
    use: Use,
    chosen: RankedVariant,
    first: RankedVariant,
    tied: tuple[str, ...],
    config: RankingConfig,
) -> str:
    decides, breaks_ties = PREFERENCE[use]
    text = (
        f"{_heading(use)}: ship {chosen.name} "
        f"({MAP50_NAME[config.metric]} {chosen.map50.estimate:.3f}, "
        f"{chosen.fps.estimate:.1f} FPS, {chosen.size_mb:.1f} MB)"
    )
    if chosen is not first:
        text += (
            f", which cannot be told apart from {first.name}, the {SUPERLATIVE[decides]} by "
            f"estimate, and is {_comparative(breaks_ties)}"
        )
    if tied:
        text += f"; {listed(tied)} cannot be told apart from it"
    if chosen.keeps_accuracy == "not shown":
        text += "; that it keeps the allowed accuracy is not shown"
    if use == "accuracy" and chosen.realtime != "yes":
        verb = "does not keep" if chosen.realtime == "no" else "is not shown to keep"
        text += f"; it {verb} {config.realtime_fps:g} FPS"
    return f"{text}."


def _comparative(metric: Metric) -> str:
    return "more accurate" if metric == "accuracy" else "faster"
