"""One adapter for each head: all that differs between the tasks Ultralytics trains for.

numpy and OpenCV alone: what is timed on a device is in them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from prunebench.measuring.heads.classify import Classify
from prunebench.measuring.heads.detect import Detect
from prunebench.measuring.heads.obb import Obb
from prunebench.measuring.heads.pose import Pose
from prunebench.measuring.heads.segment import Segment

HEADS: Mapping[str, type[Detect]] = {
    head.task: head for head in (Detect, Segment, Pose, Obb, Classify)
}
"""Task to its adapter."""

TASKS: Mapping[str, str] = {kind: head.task for head in HEADS.values() for kind in head.layers}
"""Class of the last layer to the task it performs."""


def head_of(metadata: Mapping[str, str], sigmas: tuple[float, ...] = ()) -> Detect:
    """The adapter of a file, by what Ultralytics wrote into it; of one that says nothing, boxes.

    ``sigmas`` are the spreads of keypoints that its dataset gives. ValueError where a file says
    what no head here predicts.
    """
    task, said = metadata.get("task", Detect.task), metadata.get("kpt_shape")
    if task not in HEADS:
        raise ValueError(f"the task in its metadata is {task[:40]!r}, not {' or '.join(HEADS)}")
    if said is None:
        return head_for(task, None, sigmas)
    shape = re.fullmatch(r"[\[(]([1-9]\d{0,3}), ?([23])[\])]", said)
    if shape is None:
        raise ValueError(f"kpt_shape in its metadata is {said[:40]!r}, no shape of keypoints")
    return head_for(task, [*map(int, shape.groups())], sigmas)


def head_for(
    task: str, points: Sequence[int] | None = None, sigmas: tuple[float, ...] = ()
) -> Detect:
    """The adapter of a task's head, which predicts ``points``: their number and values of each."""
    if task == Pose.task and points is not None:
        return Pose((points[0], points[1]), sigmas)
    return HEADS[task]()
