"""Ultralytics kept to itself in a process that trains."""

from __future__ import annotations

from collections.abc import Collection

INTEGRATIONS = ("clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb")
"""Experiment trackers that Ultralytics switches on by itself where they are installed."""


def isolate_ultralytics(loggers: Collection[str] = ()) -> None:
    """Switch off analytics and experiment trackers but ``loggers`` for this process.

    The user's own Ultralytics settings file is left as it is.
    """
    from ultralytics.utils import SETTINGS

    # SETTINGS.update and SETTINGS[...] = ... would write the file.
    dict.update(SETTINGS, {"sync": False, **{name: name in loggers for name in INTEGRATIONS}})
