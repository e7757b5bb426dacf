"""``preserving``: training that keeps the structure the checkpoint has."""

from __future__ import annotations

from prunebench.checkpoint import load_checkpoint
from prunebench.config import StrategyConfig
from prunebench.retraining.fit import fit
from prunebench.retraining.job import Job, Trained


class Preserving:
    """The strategy that trains the pruned network itself."""

    name = "preserving"
    settings = StrategyConfig

    def train(self, job: Job) -> Trained:
        """Train with a trainer that keeps the structure, checked after every saved epoch."""
        from prunebench.retraining.trainers import preserving_trainer

        task = str(load_checkpoint(job.checkpoint).task)
        return fit(job, trainer=preserving_trainer(task), keep_structure=True)
