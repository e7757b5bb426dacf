"""One adapter for each head: all that differs between the tasks Ultralytics trains for.

numpy and OpenCV alone: what is timed on a device is in them.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping

from prunebench.measuring.heads.detect import Detect
from prunebench.measuring.heads.segment import Segment

HEADS: Mapping[str, type[Detect]] = {head.task: head for head in (Detect, Segment)}
"""Task to its adapter."""

TASKS: Mapping[str, str] = {kind: head.task for head in HEADS.values() for kind in head.layers}
"""Class of the last layer to the task it performs."""


def head_of(metadata: Mapping[str, str]) -> Detect:
    """The adapter of a file, by what Ultralytics wrote into it; of one that says nothing, boxes."""
    kind = HEADS[metadata.get("task", Detect.task)]
    points = metadata.get("kpt_shape")
    return kind(*([] if points is None else [tuple(ast.literal_eval(points))]))
