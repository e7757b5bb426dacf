"""``standard``: plain Ultralytics training, as people run it.

It rebuilds the network from the description inside the checkpoint, which is that of the
unpruned network, and takes over only the tensors whose shapes happen to match.
"""

from __future__ import annotations

from dataclasses import replace

from prunebench.config.strategy_settings import StandardSettings
from prunebench.variants.retraining.fit import fit
from prunebench.variants.retraining.job import Job, Trained


class Standard:
    """The strategy that shows what happens to a pruned structure."""

    name = "standard"
    settings = StandardSettings

    def train(self, job: Job, settings: StandardSettings) -> Trained:
        """Train with Ultralytics' stock trainer; ``StructureChanged`` with ``on_restore: fail``."""
        job = replace(job, arguments=settings.arguments(job.arguments))
        return fit(job, keep_structure=settings.on_restore == "fail")
