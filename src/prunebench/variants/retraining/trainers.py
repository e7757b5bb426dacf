"""Ultralytics trainers whose network is the checkpoint's own module."""

from __future__ import annotations

from typing import Any

from ultralytics.models.yolo.classify import ClassificationTrainer
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.models.yolo.obb import OBBTrainer
from ultralytics.models.yolo.pose import PoseTrainer
from ultralytics.models.yolo.segment import SegmentationTrainer

from prunebench.common.errors import CheckpointError, DatasetError
from prunebench.measuring.heads import HEADS


class _KeepsStructure:
    """Overrides the one method that builds a network from ``model.yaml``.

    Ultralytics calls it at the start of a training and of a continued one, each time with the
    checkpoint's network as ``weights``; EMA, validation and checkpoints copy what it returns.
    """

    data: dict[str, Any]

    def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = True) -> Any:
        """Return ``weights`` itself, trainable."""
        if weights is None:
            raise CheckpointError("there is no trained network whose structure could be kept")
        _check_classes(weights, self.data)
        weights.criterion = None
        for parameter in weights.parameters():
            parameter.requires_grad_(True)
        return weights


class PreservingDetectionTrainer(_KeepsStructure, DetectionTrainer):
    """``DetectionTrainer`` for networks that are narrower than their description."""


class PreservingSegmentationTrainer(_KeepsStructure, SegmentationTrainer):
    """``SegmentationTrainer`` for networks that are narrower than their description."""


class PreservingPoseTrainer(_KeepsStructure, PoseTrainer):
    """``PoseTrainer`` for networks that are narrower than their description."""


class PreservingOBBTrainer(_KeepsStructure, OBBTrainer):
    """``OBBTrainer`` for networks that are narrower than their description."""


class PreservingClassificationTrainer(_KeepsStructure, ClassificationTrainer):
    """``ClassificationTrainer`` for networks that are narrower than their description."""


def preserving_trainer(task: str) -> type[Any]:
    """The structure-preserving trainer of an Ultralytics task."""
    trainers = {
        "detect": PreservingDetectionTrainer,
        "segment": PreservingSegmentationTrainer,
        "pose": PreservingPoseTrainer,
        "obb": PreservingOBBTrainer,
        "classify": PreservingClassificationTrainer,
    }
    if task not in trainers:
        raise CheckpointError(f"the structure of a checkpoint for {task} cannot be kept")
    return trainers[task]


def _check_classes(network: Any, data: dict[str, Any]) -> None:
    known, given = list(network.names.values()), list(data["names"].values())
    classes = HEADS[network.task].classes_in(network.model[-1])
    if classes != data["nc"] or len(known) != len(given):
        what = f"the data has {data['nc']} classes, the checkpoint {classes}"
        fix = "use the data the checkpoint was trained on"
    elif known != given:
        i = next(i for i, name in enumerate(known) if name != given[i])
        what = f"class {i} is {given[i]!r}, in the checkpoint {known[i]!r}"
        fix = "give the classes the checkpoint's names and order"
    else:
        return
    raise DatasetError(what, where=data.get("yaml_file"), fix=fix)
