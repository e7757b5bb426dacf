"""``preserving``: training that keeps the structure the checkpoint has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prunebench.common.errors import ConfigError
from prunebench.config.strategy_settings import PreservingSettings
from prunebench.variants.checkpoint import load_checkpoint
from prunebench.variants.retraining.fit import fit
from prunebench.variants.retraining.job import Job, Trained


class Preserving:
    """The strategy that trains the pruned network itself."""

    name = "preserving"
    settings = PreservingSettings

    def callbacks(self) -> Mapping[str, Callable[[Any], None]]:
        """What the trainer calls besides ``fit``'s own."""
        return {}

    def train(self, job: Job, settings: PreservingSettings) -> Trained:
        """Train with a trainer that keeps the structure, checked after every saved epoch."""
        from prunebench.variants.retraining.trainers import preserving_trainer

        arguments, callbacks = settings.arguments(job.arguments), dict(self.callbacks())
        if settings.distill != "none":
            if job.teacher is None:
                raise ConfigError(
                    "distillation needs the unpruned baseline as its teacher",
                    where="distill",
                    fix="give the training a teacher or set distill to none",
                )
            if settings.distill == "features":
                arguments |= {"distill_model": str(job.teacher), "dis": settings.teacher_weight}
            else:
                callbacks["on_train_start"] = _Teach(settings, job.teacher)
            callbacks["on_train_epoch_start"] = _GrowWeight(settings)
        network: Any = load_checkpoint(job.checkpoint)
        return fit(
            replace(job, arguments=arguments),
            trainer=preserving_trainer(network.task),
            keep_structure=True,
            callbacks=callbacks,
        )


@dataclass(frozen=True)
class _Teach:
    """Callback that adds the teacher's predictions to what the network learns."""

    settings: PreservingSettings
    teacher: Path

    def __call__(self, trainer: Any) -> None:
        from ultralytics.utils.torch_utils import unwrap_model

        from prunebench.variants.retraining.teaching import Taught

        network: Any = unwrap_model(trainer.model)
        teacher: Any = load_checkpoint(self.teacher)
        network.criterion = Taught(
            criterion=network.criterion or network.init_criterion(),
            teacher=teacher.float().eval().to(trainer.device),
            gains=(trainer.args.cls, trainer.args.dfl),
            weight=self.settings.teacher_weight,
        )


@dataclass(frozen=True)
class _GrowWeight:
    """Callback that raises the weight of the distillation loss linearly, epoch by epoch."""

    settings: PreservingSettings

    def __call__(self, trainer: Any) -> None:
        from ultralytics.utils.torch_utils import unwrap_model

        epochs = self.settings.distill_warmup_epochs
        weight = self.settings.teacher_weight * min(1.0, (trainer.epoch + 1) / (epochs + 1))
        network: Any = unwrap_model(trainer.model)
        if self.settings.distill == "features":
            network.dis = weight
        else:
            network.criterion.weight = weight
