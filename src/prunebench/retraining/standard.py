"""``standard``: plain Ultralytics training, as people run it.

It rebuilds the network from the description inside the checkpoint, which is that of the
unpruned network, and takes over only the tensors whose shapes happen to match.
"""

from __future__ import annotations

from prunebench.config import StrategyConfig
from prunebench.retraining.fit import fit
from prunebench.retraining.job import Job, Trained


class Standard:
    """The strategy that shows what happens to a pruned structure."""

    name = "standard"
    settings = StrategyConfig

    def train(self, job: Job) -> Trained:
        """Train with Ultralytics' stock trainer."""
        return fit(job)
