"""The protocol of a retraining strategy."""

from __future__ import annotations

from typing import Protocol

from pydantic import BaseModel

from prunebench.retraining.job import Job, Trained


class Strategy(Protocol):
    """How a pruned checkpoint is trained.

    Attributes:
        name: Its name in the configuration and in the variants' names.
        settings: Model of its section in the configuration.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def settings(self) -> type[BaseModel]: ...  # noqa: D102

    def train(self, job: Job) -> Trained:
        """Train ``job.checkpoint`` within the job's budget, usually by ``fit``."""
        ...
