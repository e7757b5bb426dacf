"""Records as plain dataclasses, for what also runs where there is no pydantic.

Pydantic reads and checks them where a record holds one, or a ``TypeAdapter`` is made of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

Overlap = Literal["box", "mask", "pose", "top1"]
"""What accuracy is measured by: an mAP50 whose IoU is taken of boxes, masks or keypoints; or, of a
classification, the share of images whose most likely class is right."""

METRIC_NAMES: Mapping[Overlap, str] = {
    "box": "mAP50",
    "mask": "mask mAP50",
    "pose": "pose mAP50",
    "top1": "top-1",
}
"""What each is called, also in every language's ``results/messages``."""

VALIDATION: Mapping[Overlap, str] = {
    "box": "metrics/mAP50(B)",
    "mask": "metrics/mAP50(M)",
    "pose": "metrics/mAP50(P)",
    "top1": "metrics/accuracy_top1",
}
"""Ultralytics' name of each, of the validation in a training."""


class Plain:
    """Base of every plain dataclass: to pydantic, unknown fields are an error."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}


@dataclass(frozen=True)
class Interval(Plain):
    """An estimate with the ends of its confidence interval and that interval's level."""

    estimate: float
    low: float
    high: float
    level: float = 0.95
