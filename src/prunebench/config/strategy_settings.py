"""Settings of the retraining strategies, those of other packages included.

Another package adds a strategy by an entry point of the group ``prunebench.strategies`` that names
an object following ``variants.retraining.strategy.Strategy``. This module knows the settings only,
so that a configuration is checked without loading anything that trains.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

GROUP = "prunebench.strategies"

Activation = Literal["relu", "hardswish"]
"""What can take the place of SiLU."""

KEEPS_STRUCTURE = ("preserving", "qat")
"""Strategies that train the pruned network itself, and so with another activation, too."""


def _open_base(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """Let JSON schema accept any strategy's keys where the strategy is not known yet."""
    if model is StrategySettings:
        schema["additionalProperties"] = True


class StrategySettings(BaseModel):
    """Base of a strategy's settings: its section in the configuration."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, json_schema_extra=_open_base
    )


class TrainingSettings(StrategySettings):
    """Hyper-parameters of a training by Ultralytics, in its names and with its defaults."""

    optimizer: Literal["SGD", "Adam", "AdamW"] = Field("SGD", description="Optimizer.")
    lr0: float = Field(0.01, gt=0, le=1, description="Initial learning rate.")
    lrf: float = Field(0.01, gt=0, le=1, description="Final learning rate as a share of lr0.")
    warmup_epochs: float = Field(3.0, ge=0, le=10_000, description="Warm-up epochs.")
    close_mosaic: int | None = Field(
        None, ge=0, le=10_000, description="Last epochs trained without mosaic; null: the recipe's."
    )
    mosaic: float | None = Field(
        None, ge=0, le=1, description="Probability of mosaic augmentation; null: the recipe's."
    )
    freeze: int = Field(0, ge=0, le=1000, description="Number of leading layers kept frozen.")
    weight_decay: float = Field(0.0005, ge=0, le=1, description="Weight decay.")
    nbs: int = Field(
        64,
        ge=1,
        le=65_536,
        description="Images whose gradients are accumulated for one optimizer step.",
    )

    args: dict[str, Any] = Field(
        default_factory=dict, description="Further arguments of `yolo train`, over the recipe's."
    )

    def arguments(self, recipe: Mapping[str, Any]) -> dict[str, Any]:
        """Ultralytics training arguments: those of the recipe, and these settings over them."""
        own = set(TrainingSettings.model_fields) - {"args"}
        return {**recipe, **self.model_dump(include=own, exclude_none=True), **self.args}


class StandardSettings(TrainingSettings):
    """Settings of ``standard``: plain Ultralytics training."""

    on_restore: Literal["warn", "fail"] = Field(
        "warn",
        description="What to do when the unpruned structure comes back, before the first epoch: "
        "say so and go on, or fail.",
    )


class PreservingSettings(TrainingSettings):
    """Settings of ``preserving``: training that keeps the pruned structure."""

    lr0: float = Field(0.001, gt=0, le=1, description="Initial learning rate.")
    distill: Literal["none", "features", "predictions"] = Field(
        "none", description="What the unpruned baseline teaches the pruned network."
    )
    distill_weight: float | None = Field(
        None,
        gt=0,
        le=1000,
        description="Weight of the distillation loss; null: 1 for predictions, and for features 6 "
        "(Ultralytics' dis).",
    )
    distill_warmup_epochs: float = Field(
        0.0, ge=0, le=10_000, description="Epochs over which that weight grows linearly from 0."
    )

    @property
    def teacher_weight(self) -> float:
        """The weight of the distillation loss, chosen or by its kind."""
        return self.distill_weight or {"features": 6.0}.get(self.distill, 1.0)


class QatSettings(PreservingSettings):
    """Settings of ``qat``: training for INT8 files that keeps the pruned structure."""


SparsityKind = Literal["group_lasso", "bn_l1"]

SPARSITY_WEIGHT = 0.0005  # For both kinds, as in torch-pruning's ``reproduce/main.py --reg``.


class SparseSettings(TrainingSettings):
    """Settings of ``sparse``: the training that ``prune.sparsity`` asks for."""

    lr0: float = Field(0.001, gt=0, le=1, description="Initial learning rate.")
    kind: SparsityKind = Field(description="The regulariser.")
    weight: float = Field(SPARSITY_WEIGHT, gt=0, le=1000, description="Factor of its gradient.")
    ignore: tuple[str, ...] = Field((), description="Names of modules that it leaves alone.")


BUILT_IN: Mapping[str, type[StrategySettings]] = {
    "standard": StandardSettings,
    "preserving": PreservingSettings,
    "qat": QatSettings,
}

BEFORE_PRUNING: Mapping[str, type[StrategySettings]] = {"sparse": SparseSettings}
"""Trainings of the unpruned network, which no retraining is compared with."""


def strategy_names() -> tuple[str, ...]:
    """Names of the strategies that can be used: the built-in ones first."""
    return (*BUILT_IN, *sorted(set(_plugins()) - set(BUILT_IN)))


def chain_name(strategy: str, activation: Activation | None) -> str:
    """Name of a chain of retrainings: the strategy's, and what its networks are activated by."""
    return strategy if activation is None else f"{strategy}-{activation}"


def settings_model(name: str) -> type[StrategySettings]:
    """Settings model of a strategy; ValueError where there is none or it cannot be imported."""
    if known := BUILT_IN.get(name) or BEFORE_PRUNING.get(name):
        return known
    settings = load_plugin(name).settings
    if not (isinstance(settings, type) and issubclass(settings, StrategySettings)):
        raise ValueError(
            f"the settings of strategy {name!r} are not a subclass of StrategySettings"
        )
    return settings


def load_plugin(name: str) -> Any:
    """The strategy that another package registered; ValueError as in ``settings_model``."""
    entry_point = _plugins().get(name)
    if entry_point is None:
        raise ValueError(f"unknown strategy {name!r}, use {' or '.join(strategy_names())}")
    try:
        strategy = entry_point.load()
    except Exception as error:  # importing a package runs its code
        raise ValueError(
            f"strategy {name!r} cannot be imported from {entry_point.value} "
            f"({type(error).__name__}: {error})"
        ) from error
    return strategy() if isinstance(strategy, type) else strategy


def plugin_digest(name: str) -> str:
    """Digest of a plugin's version and module; empty for built-in strategies, the step's own."""
    entry_point = _plugins().get(name)
    if name in BUILT_IN or name in BEFORE_PRUNING or entry_point is None:
        return ""
    digest = hashlib.sha256()
    if entry_point.dist is not None:
        digest.update(f"{entry_point.dist.name} {entry_point.dist.version}\n".encode())
    spec = find_spec(entry_point.module)
    if spec is not None and spec.origin is not None and Path(spec.origin).is_file():
        digest.update(Path(spec.origin).read_bytes())
    return digest.hexdigest()


def _plugins() -> dict[str, EntryPoint]:
    return {entry_point.name: entry_point for entry_point in entry_points(group=GROUP)}
