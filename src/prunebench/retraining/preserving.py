"""``preserving``: training that keeps the structure the checkpoint has."""

from __future__ import annotations

from prunebench.config import StrategyConfig
from prunebench.retraining.common import load_network
from prunebench.retraining.fit import fit
from prunebench.retraining.job import Job, Trained


class Preserving:
    """The strategy that trains the pruned network itself."""

    name = "preserving"
    settings = StrategyConfig

    def train(self, job: Job) -> Trained:
        """Train with a trainer that keeps the structure, checked after every saved epoch."""
        from prunebench.retraining.trainers import preserving_trainer

        task = load_network(job.checkpoint).task
        return fit(job, trainer=preserving_trainer(task), keep_structure=True)
