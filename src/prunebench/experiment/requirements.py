"""What a configuration asks of this host, the model and the data that may not be so."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from prunebench.common.errors import CheckpointError, ConfigError, DatasetError, EnvironmentMismatch
from prunebench.config.loading import Config
from prunebench.config.strategy_settings import PreservingSettings
from prunebench.data.dataset import Dataset
from prunebench.measuring.heads import HEADS
from prunebench.measuring.host.fingerprint import int8_obstacle
from prunebench.variants.checkpoint import CheckpointInfo


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


def check_int8_targets(config: Config, flags: frozenset[str]) -> None:
    """Refuse, with an EnvironmentMismatch, an INT8 file's target where it is known not to pay.

    ``flags`` are ``cpu_flags`` of the CPU that it is for.
    """
    obstacle = int8_obstacle(flags) if flags else None
    for goal in config.prune.goals:
        if goal.int8 and obstacle is not None:
            raise EnvironmentMismatch(
                f"the target {goal.label} is that of an INT8 file. {obstacle}",
                fix="give a target of the float file, or run where it does",
            )


def check_single_cls(info: CheckpointInfo, dataset: Dataset, single_cls: bool) -> None:
    """Refuse, with a DatasetError, several classes where training made one of them."""
    if info.single_cls and not single_cls and len(dataset.names) > len(info.names):
        raise DatasetError(
            f"the checkpoint was trained with single_cls, every object as one class "
            f"({info.names[0]!r}), and the dataset has {len(dataset.names)}",
            where=dataset.yaml,
            fix="set single_cls to true in the configuration",
        )


def with_metric(config: Config, task: str) -> Config:
    """The configuration with what the model's head is scored by, where it says nothing else.

    ConfigError where that is what the head does not predict.
    """
    head, metric = HEADS[task], config.ranking.metric
    if metric == "box" and head.overlaps == ("top1",):
        ranking = config.ranking.model_copy(update={"metric": "top1"})
        return config.model_copy(update={"ranking": ranking})
    if metric not in head.overlaps:
        known = " or ".join(head.overlaps)
        predicted = {"mask": "masks", "pose": "keypoints", "top1": "class of the image"}[metric]
        raise ConfigError(
            f"the metric is {metric}, but {config.model} is {head.words} and predicts no "
            f"{predicted}",
            where="ranking.metric",
            fix=f"set it to {known}, or give a model that does",
        )
    return config


def check_heads(config: Config, info: CheckpointInfo) -> None:
    """Refuse, with a ConfigError, what the model's head does not have."""
    if info.task == "classify":
        for name, settings in config.retrain.strategies.items():
            if isinstance(settings, PreservingSettings) and settings.distill == "features":
                raise ConfigError(
                    "Ultralytics distills features into heads that find objects alone",
                    where=f"retrain.strategies.{name}.distill",
                    fix="set it to predictions",
                )
        height, width = config.image.hw
        if height != width:
            raise ConfigError(
                f"a classification model sees squares, and image is {height} x {width} (H x W)",
                where="image",
                fix=f"set height and width to {info.imgsz or HEADS[info.task].default_side}",
            )
        if config.single_cls:
            what = "single_cls makes one class of objects, and a classification model finds none"
            raise ConfigError(what, where="single_cls", fix="leave it out")
    if not info.two_heads:
        asked = {"export.head": config.export.head == "one_to_one"}
        asked["controls"] = "other-head" in config.controls
        for where, is_asked in asked.items():
            if is_asked:
                raise ConfigError(
                    f"{config.model} has no one-to-one head beside the one that needs an NMS",
                    where=where,
                    fix="leave it out, or give a model of YOLOv10 or YOLO26",
                )
