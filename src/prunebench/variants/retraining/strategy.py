"""The protocol of a retraining strategy, and where strategies are found."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from prunebench.common.errors import ConfigError
from prunebench.config.strategy_settings import StrategySettings, load_plugin
from prunebench.variants.retraining.job import Job, Trained
from prunebench.variants.retraining.preserving import Preserving
from prunebench.variants.retraining.qat import Qat
from prunebench.variants.retraining.sparse import Sparse
from prunebench.variants.retraining.standard import Standard

Settings = TypeVar("Settings", bound=StrategySettings)


class Strategy(Protocol[Settings]):
    """How a pruned checkpoint is trained.

    ``name`` is the strategy's in the configuration and in the variants' names, ``settings`` is the
    model of its section.
    """

    name: str
    settings: type[Settings]

    def train(self, job: Job, settings: Settings) -> Trained:
        """Train ``job.checkpoint`` within the job's budget.

        Usually by ``fit`` of ``prunebench.variants.retraining.fit``, which seeds, watches, limits
        and continues a training by Ultralytics.
        """
        ...


BUILT_IN: dict[str, Strategy[Any]] = {
    "standard": Standard(),
    "preserving": Preserving(),
    "qat": Qat(),
    "sparse": Sparse(),
}
"""Written out, so that a training's key holds the source of its own strategy alone."""


def find_strategy(name: str) -> Strategy[Any]:
    """The strategy of a name: built in, or registered by another package.

    Raises:
        ConfigError: There is none, or its package cannot be imported.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    try:
        strategy: Strategy[Any] = load_plugin(name)
    except ValueError as error:
        raise ConfigError(str(error), where="retrain.strategies") from error
    return strategy
