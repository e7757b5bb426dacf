"""The section `export` of the configuration."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from prunebench.config.sections import Section

ExportHead = Literal["one_to_many", "one_to_one"]
"""Of a network with two heads: the one that needs an NMS, and the one that does not."""

Rewrite = Literal["exact", "none"]
"""Whether exported graphs are rewritten into ones that compute the same in less time."""


class ExportConfig(Section):
    """ONNX export and its parity check."""

    # Before 13, Softmax spans all axes from its own on, which not every tool follows.
    opset: int = Field(17, ge=13, le=21, description="ONNX operator set.")
    rewrite: Rewrite = Field(
        "exact",
        description="exact: rewrite every exported graph into one that computes the same in less "
        "time; none: leave it as Ultralytics exports it.",
    )
    head: ExportHead = Field(
        "one_to_many",
        description="Of a network with two heads (YOLOv10, YOLO26), the one that is exported, "
        "evaluated and timed: one_to_many, which needs an NMS, or one_to_one, which does not.",
    )
    parity_images: int = Field(
        4, ge=1, le=1000, description="Real images compared with the checkpoint."
    )
    box_tolerance_px: float = Field(
        0.5, gt=0, le=100, description="Largest box coordinate difference in pixels."
    )
    score_tolerance: float = Field(0.005, gt=0, le=1, description="Largest class score difference.")
