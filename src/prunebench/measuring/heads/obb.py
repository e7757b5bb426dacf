"""Oriented boxes, compared by their probabilistic IoU as in Ultralytics' OBB validator.

Two boxes are taken for normal distributions of their centres, sizes and angles; their overlap is 1
less the Hellinger distance (Llerena et al., Gaussian Bounding Boxes and Probabilistic Intersection-
over-Union for Object Detection, 2021).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from prunebench.common.plain import Overlap
from prunebench.measuring.heads.detect import Detect, Drawing, Found, Outputs, Rules, Truth
from prunebench.measuring.heads.segment import resampled
from prunebench.measuring.postprocess import (
    CLASS_OFFSET_PX,
    MAX_NMS_CANDIDATES,
    FloatArray,
    candidates_of,
    finished,
)

OUTLINE_POINTS = 100  # Points Ultralytics resamples the corners to, if it has no more.
EPSILON = np.float32(1e-7)
NMS_BLOCK = 512  # Candidates compared at once with all that are better.


class Obb(Detect):
    """Boxes at any angle. A detection's row is the centre and size, and its angle in radians."""

    task: ClassVar[str] = "obb"
    words: ClassVar[str] = "an oriented-box model"
    layers: ClassVar[tuple[str, ...]] = ("OBB", "OBB26")
    branches: ClassVar[tuple[str, ...]] = (*Detect.branches, "cv4", "one2one_cv4")

    @property
    def extra(self) -> int:
        """As ``Detect``'s."""
        return 1

    def decode(self, output: FloatArray, rules: Rules) -> FloatArray:
        """As ``Detect``'s: centre x, centre y, width, height, score, class, angle.

        A box is dropped where a better one overlaps it too much, even one that was dropped itself,
        as in Ultralytics' ``fast_nms``.
        """
        classes = rules.classes
        if self.is_end_to_end(output.shape, classes):
            return finished(output[0], rules.confidence, rules.max_det)
        channels = output[0]
        several = rules.multi_label and classes > 1
        rows, anchors = candidates_of(channels, classes, rules.confidence, several)
        order = np.argsort(-rows[:, 4], kind="stable")[:MAX_NMS_CANDIDATES]
        rows, anchors = rows[order], anchors[order]
        boxes = np.vstack((channels[:4, anchors], channels[4 + classes :, anchors])).T
        apart = boxes.copy()
        apart[:, :2] += rows[:, 5:6] * CLASS_OFFSET_PX
        kept = _fast_nms(apart, rules.iou)[: rules.max_det]
        return np.hstack((boxes[kept, :4], rows[kept, 4:], boxes[kept, 4:]))

    def truth(
        self,
        boxes: NDArray[np.float64],
        shapes: Sequence[NDArray[np.float32]],
        frame: tuple[NDArray[np.float64], NDArray[np.float64]],
        imgsz: tuple[int, int],
    ) -> Truth:
        """As ``Detect``'s, with each box's centre, size and angle, (m, 5)."""
        scale, shift = (part[:2].astype(np.float32) for part in frame)
        longest = max(map(len, shapes), default=0)
        points = OUTLINE_POINTS if longest <= OUTLINE_POINTS else longest + 1
        turned = [turned_box(resampled(shape, points) * scale + shift) for shape in shapes]
        rows = super().truth(boxes, shapes, frame, imgsz).rows
        return Truth(rows, np.array(turned, dtype=np.float32).reshape(-1, 5))

    def targets(self, truths: Sequence[Truth], imgsz: tuple[int, int]) -> dict[str, NDArray[Any]]:
        """As ``Detect``'s, of turned boxes with their angles."""
        boxes = np.concatenate([truth.shapes for truth in truths])
        boxes[:, :4] /= np.array([imgsz[1], imgsz[0]] * 2, dtype=np.float32)
        return {**super().targets(truths, imgsz), "bboxes": boxes}

    def overlap(self, truth: Truth, found: Found) -> Mapping[Overlap, NDArray[np.float32]]:
        """Of the turned boxes."""
        boxes = np.hstack((found.rows[:, :4], found.rows[:, 6:7]))
        return {"box": probabilistic_iou(truth.shapes, boxes)}

    def drawn(self, objects: Found | Truth) -> list[Drawing]:
        """The turned boxes, and what is around them."""
        boxes = objects.shapes
        if isinstance(objects, Found):
            boxes = np.hstack((objects.rows[:, :4], objects.rows[:, 6:7]))
        corners = corners_of(boxes.T).transpose(2, 0, 1)
        return [
            Drawing(np.concatenate((each.min(axis=0), each.max(axis=0))), each) for each in corners
        ]

    def _centred(self, boxes: FloatArray) -> FloatArray:
        return boxes

    def differences(self, actual: Outputs, expected: Outputs, classes: int) -> tuple[float, float]:
        """As ``Detect``'s, of corners in place of edges."""
        here, there = actual[0][0], expected[0][0]
        places = [corners_of(np.vstack((each[:4], each[4 + classes :]))) for each in (here, there)]
        score = np.abs(here[4 : 4 + classes] - there[4 : 4 + classes]).max()
        return float(np.abs(places[0] - places[1]).max()), float(score)


def turned_box(points: FloatArray) -> tuple[float, ...]:
    """Centre, size and angle of the smallest box around points: ``xyxyxyxy2xywhr``.

    Its width is the longer side, and its angle lies in -pi/4 to 3 pi/4.
    """
    centre, (width, height), degrees = cv2.minAreaRect(points)
    angle = degrees / 180 * np.pi
    if width < height:
        width, height, angle = height, width, angle + np.pi / 2
    return *centre, width, height, (angle + np.pi / 4) % np.pi - np.pi / 4


def corners_of(boxes: FloatArray) -> FloatArray:
    """Corners, (4, 2, n), of boxes (5, n): centre, size, angle."""
    x, y, width, height, angle = boxes
    cos, sin = np.cos(angle), np.sin(angle)
    along = np.array([width / 2 * cos, width / 2 * sin])
    across = np.array([-height / 2 * sin, height / 2 * cos])
    centre = np.array([x, y])
    signs = ((1, 1), (1, -1), (-1, -1), (-1, 1))
    return np.array([centre + a * along + b * across for a, b in signs])


def probabilistic_iou(labels: FloatArray, boxes: FloatArray) -> FloatArray:
    """``batch_probiou`` of m boxes with n, (m, n), each centre, size and angle, in float32."""
    x1, y1, a1, b1, c1 = (part[:, None] for part in _moments(labels))
    x2, y2, a2, b2, c2 = _moments(boxes)
    a, b, c = a1 + a2, b1 + b2, c1 + c2
    spread = a * b - c**2
    apart = (a * (y1 - y2) ** 2 + b * (x1 - x2) ** 2) / (spread + EPSILON) * np.float32(0.25)
    apart += c * (x2 - x1) * (y1 - y2) / (spread + EPSILON) * np.float32(0.5)
    own = np.clip(a1 * b1 - c1**2, 0, None) * np.clip(a2 * b2 - c2**2, 0, None)
    apart += np.log(spread / (4 * np.sqrt(own) + EPSILON) + EPSILON) * np.float32(0.5)
    distance = np.sqrt(1 - np.exp(-np.clip(apart, EPSILON, 100)) + EPSILON)
    overlap: FloatArray = (1 - distance).astype(np.float32)
    return overlap


def _moments(boxes: FloatArray) -> tuple[FloatArray, ...]:
    """Centre x and y of boxes, and their covariances' two diagonal parts and the other."""
    x, y, width, height, angle = boxes.astype(np.float32).T
    a, b = width**2 / 12, height**2 / 12
    cos, sin = np.cos(angle), np.sin(angle)
    return x, y, a * cos**2 + b * sin**2, a * sin**2 + b * cos**2, (a - b) * cos * sin


def _fast_nms(boxes: FloatArray, iou: float) -> NDArray[np.intp]:
    """Indices of boxes (n, 5), best first, that no better one overlaps by more than ``iou``."""
    kept = np.ones(len(boxes), dtype=np.bool_)
    for start in range(0, len(boxes), NMS_BLOCK):
        block = boxes[start : start + NMS_BLOCK]
        overlap = probabilistic_iou(boxes[: start + len(block)], block)
        better = np.arange(len(overlap))[:, None] < start + np.arange(len(block))
        kept[start : start + len(block)] = ~((overlap > iou) & better).any(axis=0)
    return np.flatnonzero(kept)
