"""What each retraining did, against the pruned network and against the round before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from prunebench.results.ranking.compare import Raws, display_interval, has_ratio, relative_accuracy
from prunebench.results.ranking.measured import MeasuredVariant
from prunebench.results.ranking.records import Effect, Metric, RelativeChange
from prunebench.results.ranking.ties import Wins, tied

Kind = Literal["strategy", "round"]


def effects_of(
    measured: Sequence[MeasuredVariant], raws: Raws, wins: Wins, level: float
) -> Iterator[Effect]:
    """Effects of every retrained variant whose reference was measured in the same rounds.

    A control is none: what retraining did to the unpruned network is a part of ``changes``.
    """
    by_name = {variant.name: variant for variant in measured}
    for variant in (v for v in measured if v.strategy is not None and v.control is None):
        for kind, reference in _references(variant, by_name):
            if raws["speed", variant.name, reference.name].location is not None:
                yield _effect(kind, variant, reference, raws, wins, level)


def _references(
    variant: MeasuredVariant, by_name: Mapping[str, MeasuredVariant]
) -> Iterator[tuple[Kind, MeasuredVariant]]:
    """The network that the strategy started from, and the round before."""
    start = parent = by_name.get(variant.parent or "")
    while start is not None and start.strategy == variant.strategy:
        start = by_name.get(start.parent or "")
    if start is not None:
        yield "strategy", start
    if parent is not None and parent is not start:
        yield "round", parent


def _effect(
    kind: Kind,
    variant: MeasuredVariant,
    reference: MeasuredVariant,
    raws: Raws,
    wins: Wins,
    level: float,
) -> Effect:
    def change(metric: Metric) -> RelativeChange:
        raw, percent = raws[metric, variant.name, reference.name], None
        if metric == "speed" or (has_ratio(variant) and has_ratio(reference)):
            percent = (
                relative_accuracy(variant, reference, level)
                if metric == "accuracy"
                else display_interval(raw, level)
            )
        shown = not tied(wins, metric, variant.name, reference.name)
        return RelativeChange(percent=percent, shown=shown)

    parameters = None
    if variant.parameters is not None and reference.parameters is not None:
        parameters = 100 * (variant.parameters / reference.parameters - 1)
    return Effect(
        kind=kind,
        strategy=variant.strategy or "",
        variant=variant.name,
        reference=reference.name,
        parameters_percent=parameters,
        accuracy=change("accuracy"),
        speed=change("speed"),
        efficiency=change("efficiency"),
    )
