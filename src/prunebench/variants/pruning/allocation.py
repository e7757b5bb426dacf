"""How wide every layer becomes: an allocation's path, followed until the target is reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from prunebench.common.errors import ConfigError, StepError
from prunebench.common.variant_record import Reached
from prunebench.config.pruning import Allocation
from prunebench.config.targets import Goal
from prunebench.variants.pruning.alignment import uniform_width
from prunebench.variants.pruning.costs import CostModel, LayerCost
from prunebench.variants.pruning.paths import (
    Path,
    bundles_of,
    global_path,
    greedy_path,
    uniform_path,
)
from prunebench.variants.pruning.pruner import Opened
from prunebench.variants.pruning.search import Timed, find_point
from prunebench.variants.pruning.sensitivity import lost_by
from prunebench.variants.pruning.shapes import Kept, Shapes

WHERE = "prune.target"


class Allocated(NamedTuple):
    """Channels that stay of each root, which reach a target or come nearest to it."""

    kept: dict[str, int]
    reached: Reached


class Measurements(NamedTuple):
    """What ``latency-aware`` follows: layers' times, and losses by the first root of a bundle."""

    costs: Mapping[str, LayerCost]
    curves: Mapping[str, Sequence[float]]


def allocate(
    opened: Opened,
    shapes: Shapes,
    goal: Goal,
    allocation: Allocation,
    *,
    block: int | None,
    measurements: Measurements | None = None,
    time: Callable[[Kept], Timed] | None = None,
    note: Callable[[str], None] = lambda sentence: None,
) -> Allocated:
    """Decide how many channels of each group stay.

    ``block``: widths become multiples of it; ``None``: any width. ``latency-aware`` needs
    ``measurements``, measured targets need ``time``, which measures widths beside the baseline.

    Raises:
        ConfigError: The target is beyond what the network can become.
        StepError: A measured target cannot be reached.
    """
    groups = opened.graph.groups
    if goal.kind == "ratio" and allocation == "uniform":
        kept = {group.root: uniform_width(group, goal.value, block) for group in groups}
        return Allocated(kept, reached_by(goal, shapes, kept))
    path = path_of(opened, shapes, allocation, block=block, measurements=measurements)
    if not path.moves:
        raise StepError("prune", "every layer is left alone, so there is nothing to prune")
    if not goal.is_measured:
        check_goal(path, shapes, goal)
        kept = next(p for p in path.points() if _reaches(goal, _progress(shapes, goal, p)))
        return Allocated(kept, reached_by(goal, shapes, kept))
    if time is None:
        raise StepError("prune", f"the target {goal.label} needs a measurement")
    points = list(path.points())
    # By measured costs where there are some, else by arithmetic.
    cost = CostModel(shapes.parts, measurements.costs).microseconds if measurements else shapes.macs
    predicted = [float(cost(kept)) for kept in points]
    found = find_point(predicted, lambda index: time(points[index]), goal, note)
    kept = points[found.point]
    timed = found.timed
    measured: dict[str, Any] = {"speedup": 1 / timed.ratio.estimate, "met": found.met}
    measured |= {"latency_ms": timed.latency_ms.estimate, "unsure": found.unsure}
    measured |= {"throttled": timed.throttled}
    reached = reached_by(goal, shapes, kept).model_copy(update=measured)
    return Allocated(kept, reached)


def path_of(
    opened: Opened,
    shapes: Shapes,
    allocation: Allocation,
    *,
    block: int | None,
    measurements: Measurements | None,
) -> Path:
    """The order in which an allocation removes blocks of channels."""
    bundles = bundles_of(opened.graph.groups, block)
    if allocation == "uniform":
        return uniform_path(bundles)
    if allocation == "global":
        return global_path(bundles, opened.scores)
    if measurements is None:
        raise StepError("prune", "latency-aware allocation needs measured costs")
    model = CostModel(shapes.parts, measurements.costs)
    lost = [lost_by(bundle, measurements.curves[bundle.roots[0]]) for bundle in bundles]
    return greedy_path(bundles, lost, model.saved)


def check_goal(path: Path, shapes: Shapes, goal: Goal) -> None:
    """Refuse a counted target that is not between the network and the path's last point."""
    *_, narrowest = path.points()
    now, least = (_progress(shapes, goal, kept) for kept in (shapes.full, narrowest))
    shown = "{:.2f}" if goal.kind == "ratio" else "{:,}"
    if not _reaches(goal, least):
        raise ConfigError(
            f"the target {goal.label} is beyond the narrowest network these settings allow, "
            f"which has {shown.format(least)}",
            where=WHERE,
            fix="give a less extreme one or a smaller round_to",
        )
    if _reaches(goal, now):
        raise ConfigError(
            f"the target {goal.label} is not below the baseline, which has {shown.format(now)}",
            where=WHERE,
            fix="give a smaller one",
        )


def _progress(shapes: Shapes, goal: Goal, kept: Kept) -> float:
    if goal.kind == "ratio":
        return 1 - sum(kept.values()) / sum(shapes.full.values())
    return shapes.parameters(kept) if goal.kind == "parameters" else shapes.macs(kept)


def _reaches(goal: Goal, value: float) -> bool:
    return value >= goal.value if goal.kind == "ratio" else value <= goal.value


def reached_by(goal: Goal, shapes: Shapes, kept: Kept) -> Reached:
    """What widths count to, beside the goal where that says more than the widths."""
    label = None if goal.kind in ("ratio", "widths") else goal.label
    return Reached(goal=label, parameters=shapes.parameters(kept), macs=shapes.macs(kept))
