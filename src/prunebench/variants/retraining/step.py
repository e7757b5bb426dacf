"""The step ``train``: one round of one retraining strategy, in a child process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import Field, SerializeAsAny, ValidationInfo, field_validator

from prunebench.config.strategy_settings import (
    Activation,
    StrategySettings,
    chain_name,
    plugin_digest,
    settings_model,
)
from prunebench.steps.environment import WAITING
from prunebench.steps.events import Emit
from prunebench.variants.retraining.activation import with_activation
from prunebench.variants.retraining.job import Budget, Job, Result
from prunebench.variants.retraining.strategy import find_strategy


class Request(Budget):
    """One round of retraining; files are absolute paths.

    Attributes:
        checkpoint: The pruned checkpoint, or the previous round's.
        round: 1 for the first retraining after pruning, 0 for a training before it.
        recipe: Ultralytics training arguments that the strategy's settings are put over.
        activation: What takes the place of SiLU before the training; ``None``: it stays.
        teacher: The unpruned baseline, for strategies that learn from it.
        source: Digest of the strategy's source where another package brings it.
    """

    strategy: str
    settings: SerializeAsAny[StrategySettings]
    checkpoint: str
    round: int
    patience: int = 100
    recipe: dict[str, Any] = Field(default_factory=dict)
    activation: Activation | None = None
    teacher: str | None = None
    source: str = Field(default_factory=lambda data: plugin_digest(data["strategy"]))

    @field_validator("settings", mode="before")
    @classmethod
    def _by_strategy(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, StrategySettings):
            return value
        return settings_model(info.data["strategy"]).model_validate(value)


def run(request: Request, workdir: Path, emit: Emit) -> Result:
    """Train, or continue the training that an earlier attempt left in ``workdir``.

    Raises:
        InputError: The checkpoint, the data or the strategy's name cannot be used.
        StepError: The training failed; a saved epoch in ``workdir`` stays for another attempt.
    """
    # Read when torch is imported.
    for name, value in WAITING.items():
        os.environ.setdefault(name, value)
    strategy, checkpoint = find_strategy(request.strategy), Path(request.checkpoint)
    if request.activation is not None:
        checkpoint = with_activation(checkpoint, request.activation, workdir / "activated.pt")
    trained = strategy.train(
        Job(
            checkpoint=checkpoint,
            folder=workdir,
            arguments=request.recipe,
            budget=request,
            provenance={
                "step": "train",
                "strategy": request.strategy,
                "round": request.round,
                "activation": request.activation,
                "settings": request.settings.model_dump(mode="json"),
                "recipe": request.recipe,
            },
            emit=emit,
            teacher=None if request.teacher is None else Path(request.teacher),
        ),
        request.settings,
    )
    if checkpoint != Path(request.checkpoint):
        checkpoint.unlink()
    name = chain_name(request.strategy, request.activation)
    return trained.result(workdir, name, request.round, request.image_hw)
