"""What each retraining did, against the pruned network and against the round before."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from prunebench.results.ranking.compare import Raw, display_interval, relative_accuracy
from prunebench.results.ranking.measured import Measured
from prunebench.results.ranking.records import Change, Difference, Effect, Metric
from prunebench.results.ranking.text import change_phrase


def effects_of(
    measured: Sequence[Measured],
    raws: Mapping[tuple[Metric, str, str], Raw],
    differences: Sequence[Difference],
    level: float,
) -> tuple[Effect, ...]:
    """Effects of every retrained variant whose reference was measured too."""
    by_name = {variant.name: variant for variant in measured}
    shown = {(d.metric, frozenset((d.first, d.second))) for d in differences if d.told_apart}
    effects = []
    for variant in measured:
        if variant.strategy is None:
            continue
        for kind, reference in _references(variant, by_name):
            effect = _effect(kind, variant, reference, raws, shown, level)
            if effect is not None:
                effects.append(effect)
    return tuple(effects)


def _references(
    variant: Measured, by_name: Mapping[str, Measured]
) -> list[tuple[Literal["strategy", "round"], Measured]]:
    """The network that the strategy started from, and the round before."""
    found: list[tuple[Literal["strategy", "round"], Measured]] = []
    parent = by_name.get(variant.parent or "")
    start = parent
    while start is not None and start.strategy == variant.strategy:
        start = by_name.get(start.parent or "")
    if start is not None:
        found.append(("strategy", start))
    if parent is not None and parent is not start:
        found.append(("round", parent))
    return found


def _effect(
    kind: Literal["strategy", "round"],
    variant: Measured,
    reference: Measured,
    raws: Mapping[tuple[Metric, str, str], Raw],
    shown: set[tuple[Metric, frozenset[str]]],
    level: float,
) -> Effect | None:
    pair = frozenset((variant.name, reference.name))
    speed = raws["speed", variant.name, reference.name]
    efficiency = raws["efficiency", variant.name, reference.name]
    if math.isnan(speed.estimate):
        return None
    accuracy_change = Change(
        percent=relative_accuracy(variant, reference, level), shown=("accuracy", pair) in shown
    )
    speed_change = Change(percent=display_interval(speed, level), shown=("speed", pair) in shown)
    efficiency_change = Change(
        percent=display_interval(efficiency, level), shown=("efficiency", pair) in shown
    )
    parameters = None
    if variant.parameters is not None and reference.parameters is not None:
        parameters = 100 * (variant.parameters / reference.parameters - 1)
    changes = ", ".join(
        (
            change_phrase(accuracy_change, "accuracy"),
            change_phrase(speed_change, "speed"),
            change_phrase(efficiency_change, "efficiency"),
        )
    )
    grown = "" if parameters is None else f"parameters {parameters:+.1f} %, "
    return Effect(
        kind=kind,
        strategy=variant.strategy or "",
        variant=variant.name,
        reference=reference.name,
        parameters_percent=parameters,
        accuracy=accuracy_change,
        speed=speed_change,
        efficiency=efficiency_change,
        sentence=f"{variant.name} against {reference.name}: {grown}{changes}.",
    )
