"""Which variants an experiment has, and the chain of steps that makes each."""

from __future__ import annotations

from prunebench.config import Config
from prunebench.pruning.targets import Goal
from prunebench.records import Record

NETWORK_SUFFIXES = (".yaml", ".yml")


class PlannedVariant(Record):
    """A variant that an experiment will make.

    Attributes:
        name: ``baseline``, ``pruned``, ``<strategy>-<round>``; with several targets
            ``pruned-<target>``, ``<strategy>-<target>-<round>``.
        parent: Name of the variant it is made from, ``None`` for the baseline.
        steps: The chain of steps from the given model to this variant.
        strategy: Retraining strategy of the last step, or ``None``.
        round: Retraining round of the last step, 0 where it is none.
        goal: What the pruning it comes from is to reach, ``None`` for the baseline.
        judged_by: The two rounds before it, where their comparison decides whether it is trained.
    """

    name: str
    parent: str | None
    steps: tuple[str, ...]
    strategy: str | None = None
    round: int = 0
    goal: Goal | None = None
    judged_by: tuple[str, ...] = ()


def plan_variants(config: Config) -> tuple[PlannedVariant, ...]:
    """Variants of an experiment, each after its parent."""
    trained = config.model.endswith(NETWORK_SUFFIXES)
    first = ("train baseline",) if trained else ("load checkpoint",)
    baseline = PlannedVariant(name="baseline", parent=None, steps=first)
    before = () if config.prune.sparsity is None else ("train sparse",)
    variants = [baseline]
    goals = config.prune.goals
    for goal in goals:
        label = f"{goal.label}-" if len(goals) > 1 else ""
        step = f"prune to {goal.label}" if len(goals) > 1 else "prune"
        pruned = PlannedVariant(
            name=f"pruned-{label}".removesuffix("-"),
            parent="baseline",
            steps=(*first, *before, step),
            goal=goal,
        )
        variants.append(pruned)
        variants += _retrained(config, pruned, label)
    return tuple(variants)


def _retrained(config: Config, pruned: PlannedVariant, label: str) -> list[PlannedVariant]:
    variants = []
    for strategy in config.retrain.strategies:
        parent = pruned
        for number in range(1, config.retrain.rounds + 1):
            parent = PlannedVariant(
                name=f"{strategy}-{label}{number}",
                parent=parent.name,
                steps=(*parent.steps, f"retrain {strategy} round {number}"),
                strategy=strategy,
                round=number,
                goal=pruned.goal,
                judged_by=_judged_by(config, parent),
            )
            variants.append(parent)
    return variants


def _judged_by(config: Config, before: PlannedVariant) -> tuple[str, ...]:
    """The round before and the one before that; round 1 has no round it could gain on."""
    if config.retrain.stop_when == "never" or before.parent is None or before.round < 2:
        return ()
    return before.parent, before.name
