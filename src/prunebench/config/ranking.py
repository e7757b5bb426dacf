"""The section `ranking` of the configuration."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from prunebench.config.sections import Section


class RankingConfig(Section):
    """Efficiency = mAP50 x FPS / MB, limits and gates; top-1 for mAP50 of a classification."""

    metric: Literal["box", "mask", "pose", "top1"] = Field(
        "box",
        description="mAP50 that ranks and limits: of boxes; or, where the model predicts "
        "them, of masks or keypoints (`pose`). Of a classification it is always its `top1`.",
    )
    realtime_fps: float = Field(
        20.0, gt=0, le=10_000, description="Frames per second called real-time."
    )
    max_rss_mb: float | None = Field(
        None,
        gt=0,
        le=1e7,
        description="Peak resident memory, in 10^6 bytes, that the process of a recommended "
        "variant may take, Python and onnxruntime included; null: any.",
    )
    size_of: Literal["onnx", "checkpoint"] = Field(
        "onnx", description="File whose size (10^6 bytes) divides the efficiency."
    )
    max_map50_loss: float | None = Field(
        0.05,
        ge=0,
        lt=1,
        description="mAP50 (of a classification top-1) that a recommended variant may lose against "
        "the baseline, and a retrained one against the unpruned network retrained alike, and never "
        "more than half of theirs; null: any.",
    )
    max_class_loss: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="AP50 (of a classification the share of its images that are right) that a "
        "recommended variant may lose in a single class; null: any.",
    )
    level: float = Field(0.95, gt=0.5, lt=1, description="Confidence level of every interval.")
    bootstrap: int = Field(2000, ge=200, le=100_000, description="Bootstrap resamples.")
