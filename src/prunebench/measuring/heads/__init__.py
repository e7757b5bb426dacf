"""One adapter for each head: all that differs between the tasks Ultralytics trains for.

numpy and OpenCV alone: what is timed on a device is in them.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from prunebench.measuring.heads.detect import Detect
from prunebench.measuring.heads.obb import Obb
from prunebench.measuring.heads.pose import Pose
from prunebench.measuring.heads.segment import Segment

HEADS: Mapping[str, type[Detect]] = {head.task: head for head in (Detect, Segment, Pose, Obb)}
"""Task to its adapter."""

TASKS: Mapping[str, str] = {kind: head.task for head in HEADS.values() for kind in head.layers}
"""Class of the last layer to the task it performs."""


def head_of(metadata: Mapping[str, str], sigmas: tuple[float, ...] = ()) -> Detect:
    """The adapter of a file, by what Ultralytics wrote into it; of one that says nothing, boxes.

    ``sigmas`` are the spreads of keypoints that its dataset gives.
    """
    points = ast.literal_eval(metadata.get("kpt_shape", "None"))
    return head_for(metadata.get("task", Detect.task), points, sigmas)


def head_for(
    task: str, points: Sequence[int] | None = None, sigmas: tuple[float, ...] = ()
) -> Detect:
    """The adapter of a task's head, which predicts ``points``: their number and values of each."""
    if task == Pose.task and points is not None:
        return Pose((points[0], points[1]), sigmas)
    return HEADS[task]()
