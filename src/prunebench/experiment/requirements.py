"""What has to be there before anything is read: files and packages that a configuration names."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from prunebench.common.errors import CheckpointError, ConfigError, EnvironmentMismatch
from prunebench.config.loading import Config


def require_loggers(loggers: Sequence[str]) -> None:
    """Refuse, with a ConfigError, a tracker that is not installed: nothing would be logged."""
    for logger in loggers:
        package = {"comet": "comet_ml"}.get(logger, logger)
        if importlib.util.find_spec(package) is None:
            raise ConfigError(
                f"{logger} is not installed",
                where="retrain.loggers",
                fix=f"install it (pip install {package}) or leave it out",
            )


def require_checkpoint(path: Path) -> None:
    """Refuse, with a CheckpointError, a checkpoint that is not there."""
    if not path.is_file():
        fix = "check the path of `model`"
        raise CheckpointError("the checkpoint does not exist", where=path, fix=fix)


def check_engine(config: Config) -> None:
    """Refuse, with an EnvironmentMismatch, to start on a Dask cluster without its packages."""
    if config.engine == "dask" and importlib.util.find_spec("prefect_dask") is None:
        raise EnvironmentMismatch(
            "engine is dask, and prefect-dask is not installed",
            fix="install it with: pip install 'prunebench[dask]'",
        )
