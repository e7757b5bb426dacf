"""Which variants an experiment has, and the chain of steps that makes each."""

from __future__ import annotations

from prunebench.config import Config
from prunebench.records import Record

NETWORK_SUFFIXES = (".yaml", ".yml")


class PlannedVariant(Record):
    """A variant that an experiment will make.

    Attributes:
        name: ``baseline``, ``pruned``, ``<strategy>-<round>``.
        parent: Name of the variant it is made from, ``None`` for the baseline.
        steps: The chain of steps from the given model to this variant.
        strategy: Retraining strategy of the last step, or ``None``.
        round: Retraining round of the last step, 0 where it is none.
    """

    name: str
    parent: str | None
    steps: tuple[str, ...]
    strategy: str | None = None
    round: int = 0


def plan_variants(config: Config) -> tuple[PlannedVariant, ...]:
    """Variants of an experiment, each after its parent."""
    trained = config.model.endswith(NETWORK_SUFFIXES)
    first = ("train baseline",) if trained else ("load checkpoint",)
    baseline = PlannedVariant(name="baseline", parent=None, steps=first)
    pruned = PlannedVariant(name="pruned", parent="baseline", steps=(*first, "prune"))
    variants = [baseline, pruned]
    for strategy in config.retrain.strategies:
        parent = pruned
        for number in range(1, config.retrain.rounds + 1):
            parent = PlannedVariant(
                name=f"{strategy}-{number}",
                parent=parent.name,
                steps=(*parent.steps, f"retrain {strategy} round {number}"),
                strategy=strategy,
                round=number,
            )
            variants.append(parent)
    return tuple(variants)
