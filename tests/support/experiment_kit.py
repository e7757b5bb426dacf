"""An experiment whose inputs nobody looks for: what needs its folder, settings and plan only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prunebench.config.loading import Config
from prunebench.experiment.inputs import Experiment
from prunebench.experiment.plan import plan_variants
from prunebench.results.run_folder import read_run_config


def bare_experiment(config: Config, folder: Path, **known: Any) -> Experiment:
    values: dict[str, Any] = {
        "variants": plan_variants(config),
        "out": str(folder.parent),
        "checkpoint": None,
        "checkpoint_sha256": None,
        "audit": None,
        "data_yaml": "data.yaml",
        "data_digest": "0" * 64,
        "class_names": {},
        "recipe": {},
        "split": "val",
        "images": (),
    }
    return Experiment(config=config, folder=str(folder), **{**values, **known})


def experiment_of(folder: Path) -> Experiment:
    """That of a run folder that was made without one."""
    return bare_experiment(read_run_config(folder), folder)
