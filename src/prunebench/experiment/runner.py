"""Run an experiment from Python, by whoever orchestrates: the core does not know it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from os import PathLike
from pathlib import Path
from typing import Any

from prunebench.common.errors import EnvironmentMismatch
from prunebench.config.loading import Config, load_config, parse_config
from prunebench.results.run import Run, load_run

RUNNERS = "prunebench.runners"
"""Group of the entry point that runs an experiment. The core must not import the orchestrator, so
the orchestrator registers here: ``run_experiment = "flows.running:run_to_folder"``."""


def run_experiment(
    config: Config | Mapping[str, Any] | str | PathLike[str], *, quiet: bool = False
) -> Run:
    """Prune, retrain, export, measure and rank, as ``prunebench run`` does.

    Finished steps are not repeated, so an interrupted call is simply made again.

    Args:
        config: A configuration, its values (``{"model": "best.pt", "data": "data.yaml"}``), or the
            path of its YAML file.
        quiet: Show no progress, only what finished or failed.

    Returns:
        The finished run; variants that failed are in ``ranking.failures``.

    Raises:
        InputError: Of the kind that says what is wrong, before any work.
        PrunebenchError: The run failed as a whole.
    """
    if isinstance(config, Config):
        resolved = config
    elif isinstance(config, Mapping):
        resolved = parse_config(config)
    else:
        resolved = load_config(Path(config))
    found = tuple(entry_points(group=RUNNERS, name="run_experiment"))
    if not found:
        raise EnvironmentMismatch(
            "nothing is installed that runs an experiment", fix="install prunebench with pip again"
        )
    return load_run(found[0].load()(resolved, quiet=quiet))
