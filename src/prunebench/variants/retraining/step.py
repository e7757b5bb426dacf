"""The step ``train``: one round of one retraining strategy, in a child process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import Field, SerializeAsAny, ValidationInfo, field_validator

from prunebench.config.strategy_settings import StrategySettings, plugin_digest, settings_model
from prunebench.steps.environment import WAITING
from prunebench.steps.events import Emit
from prunebench.variants.retraining.job import Budget, Job, Result
from prunebench.variants.retraining.strategy import find_strategy


class Request(Budget):
    """One round of retraining; files are absolute paths.

    Attributes:
        checkpoint: The pruned checkpoint, or the previous round's.
        round: 1 for the first retraining after pruning, 0 for a training before it.
        recipe: Ultralytics training arguments that the strategy's settings are put over.
        teacher: The unpruned baseline, for strategies that learn from it.
        source: Digest of the strategy's source where another package brings it.
    """

    strategy: str
    settings: SerializeAsAny[StrategySettings]
    checkpoint: str
    round: int
    patience: int = 100
    recipe: dict[str, Any] = Field(default_factory=dict)
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
    strategy = find_strategy(request.strategy)
    trained = strategy.train(
        Job(
            checkpoint=Path(request.checkpoint),
            folder=workdir,
            arguments=request.recipe,
            budget=request,
            provenance={
                "step": "train",
                "strategy": request.strategy,
                "round": request.round,
                "settings": request.settings.model_dump(mode="json"),
                "recipe": request.recipe,
            },
            emit=emit,
            teacher=None if request.teacher is None else Path(request.teacher),
        ),
        request.settings,
    )
    return trained.result(workdir, request.strategy, request.round, request.image_hw)
