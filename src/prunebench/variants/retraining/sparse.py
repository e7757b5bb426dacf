"""``sparse``: training of the unpruned network that makes channels dispensable."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from prunebench.config.strategy_settings import SparseSettings
from prunebench.variants.checkpoint import load_checkpoint
from prunebench.variants.retraining.fit import fit
from prunebench.variants.retraining.job import Job, Trained


class Sparse:
    """The training that ``prune.sparsity`` asks for."""

    name = "sparse"
    settings = SparseSettings

    def train(self, job: Job, settings: SparseSettings) -> Trained:
        """Train with a regulariser and return the last epoch, the most regularised one."""
        from prunebench.variants.retraining.trainers import preserving_trainer

        network: Any = load_checkpoint(job.checkpoint)
        return fit(
            replace(job, arguments=settings.arguments(job.arguments)),
            trainer=preserving_trainer(network.task),
            keep_structure=True,
            last_epoch=True,
            callbacks={"on_train_start": Regularise(settings)},
        )


@dataclass(frozen=True)
class Regularise:
    """Callback that has the regulariser's gradients added right before every optimizer step."""

    settings: SparseSettings

    def __call__(self, trainer: Any) -> None:
        """Let the trainer's optimizer start with the regulariser."""
        from ultralytics.utils.torch_utils import unwrap_model

        from prunebench.variants.retraining.regulariser import Regulariser

        network, settings = unwrap_model(trainer.model), self.settings
        regulariser = Regulariser(network, settings.kind, settings.weight, settings.ignore)

        def add(*_: Any) -> None:
            regulariser.add_gradients(network)

        # Inside ``trainer.optimizer_step`` the gradients are unscaled (mixed precision) and then
        # clipped to a norm that YOLO's loss often exceeds. Before either, the weight would mean
        # something else at every step; this hook runs after both, as weight decay does.
        trainer.optimizer.register_step_pre_hook(add)
