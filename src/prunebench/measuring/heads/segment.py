"""Masks: coefficients of each box, of prototypes that the network predicts once for an image.

Scored as in Ultralytics' segmentation validator: detected masks at a quarter of the letterbox,
cropped to their boxes (``process_mask``); labelled polygons filled in the letterbox and reduced
alike, where they overlap the smaller object keeping the pixels (``overlap_mask``); the IoU is that
of the pixels (``mask_iou``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from prunebench.common.plain import Overlap
from prunebench.measuring.heads.detect import Detect, Found, Hook, Outputs, Rules, Truth
from prunebench.measuring.postprocess import FloatArray, build_masks

MASK_RATIO = 4  # Pixels of the letterbox across one of a mask: Ultralytics' default and its heads'.
OUTLINE_POINTS = 1000  # Points Ultralytics resamples a labelled outline to, if it has no more.
COEFFICIENTS = 32


class Segment(Detect):
    """Boxes, and in each the pixels of its object."""

    task: ClassVar[str] = "segment"
    words: ClassVar[str] = "a segmentation model"
    layers: ClassVar[tuple[str, ...]] = ("Segment", "Segment26")
    branches: ClassVar[tuple[str, ...]] = (*Detect.branches, "cv4", "one2one_cv4")
    overlaps: ClassVar[tuple[Overlap, ...]] = ("box", "mask")
    hub_task: ClassVar[str] = "image-segmentation"

    @property
    def extra(self) -> int:
        """As ``Detect``'s."""
        return COEFFICIENTS

    @classmethod
    def predictions(cls, layer: Any) -> list[str]:
        """As ``Detect``'s, and what makes the prototypes."""
        names = [*super().predictions(layer), "proto.cv3.conv"]
        if hasattr(layer.proto, "semseg"):
            names.append(f"proto.semseg.{len(layer.proto.semseg) - 1}")
        return names

    @classmethod
    def training_only(cls, layer: Any) -> list[tuple[Any, Hook]]:
        """YOLO26's auxiliary branch, which reads what the prototypes are made of."""
        if not hasattr(layer.proto, "semseg"):
            return []

        def branch(_: Any, inputs: tuple[Any], __: Any) -> None:
            layer.proto.semseg(*inputs)

        return [(layer.proto.feat_fuse, branch)]

    def find(self, outputs: Outputs, rules: Rules) -> Found:
        """As ``Detect``'s, with the mask of each, (n, height / 4, width / 4)."""
        rows = self.decode(outputs[0], rules)
        return Found(rows, build_masks(outputs[1], rows, rules.imgsz))

    def truth(
        self,
        boxes: NDArray[np.float64],
        shapes: Sequence[NDArray[np.float32]],
        frame: tuple[NDArray[np.float64], NDArray[np.float64]],
        imgsz: tuple[int, int],
    ) -> Truth:
        """As ``Detect``'s, with the mask of each, the largest first."""
        rows = super().truth(boxes, shapes, frame, imgsz).rows
        order, masks = draw_masks(shapes, frame[0][:2], frame[1][:2], imgsz)
        return Truth(rows[order], masks)

    def targets(self, truths: Sequence[Truth], imgsz: tuple[int, int]) -> dict[str, NDArray[Any]]:
        """As ``Detect``'s, with the number of the object a pixel shows, from 1, and its class.

        The loss finds an object by its number in the mask, the largest object first.
        """
        numbers = [(t.shapes * np.arange(1, len(t.rows) + 1)[:, None, None]).sum(0) for t in truths]
        kinds = [np.append(0, t.rows[:, 0])[n] for t, n in zip(truths, numbers, strict=True)]
        return {
            **super().targets(truths, imgsz),
            "masks": np.stack(numbers).astype(np.float32),
            "sem_masks": np.stack(kinds).astype(np.int64),
        }

    def overlap(self, truth: Truth, found: Found) -> Mapping[Overlap, NDArray[np.float32]]:
        """Of the boxes, and of the masks."""
        return {**super().overlap(truth, found), "mask": mask_iou(truth.shapes, found.shapes)}

    def differences(self, actual: Outputs, expected: Outputs, classes: int) -> tuple[float, float]:
        """As ``Detect``'s; coefficients and prototypes count relative to the largest of them."""
        px, score = super().differences(actual, expected, classes)
        # They have no scale of their own.
        pairs = [(actual[0][0][4 + classes :], expected[0][0][4 + classes :])]
        for item, other in [*pairs, *zip(actual[1:], expected[1:], strict=True)]:
            score = float(np.maximum(score, np.abs(item - other).max() / np.abs(other).max()))
        return px, score


def draw_masks(
    polygons: Sequence[NDArray[np.float32]],
    factor: NDArray[np.float64],
    offset: NDArray[np.float64],
    imgsz: tuple[int, int],
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Fill labelled polygons, (points, 2), as Ultralytics does for its segmentation validator.

    ``factor`` and ``offset``, (2,), take them to pixels of the letterbox. Returns the order the
    masks are in, by falling area, and the masks, (m, height / 4, width / 4).
    """
    shape = imgsz[0] // MASK_RATIO, imgsz[1] // MASK_RATIO
    if not polygons:
        return np.zeros(0, dtype=np.intp), np.zeros((0, *shape), dtype=np.bool_)
    longest = max(map(len, polygons))
    points = OUTLINE_POINTS if longest <= OUTLINE_POINTS else longest + 1
    # In single precision throughout: coordinates are cut to whole pixels, often right on one.
    scale, shift = factor.astype(np.float32), offset.astype(np.float32)
    drawn = np.stack([_filled(resampled(p, points) * scale + shift, imgsz) for p in polygons])
    order = np.argsort(-drawn.sum(axis=(1, 2)))
    masks = drawn[order] > 0
    # The smaller objects lie on top.
    covered = np.logical_or.accumulate(masks[::-1], axis=0)[::-1]
    masks[:-1] &= ~covered[1:]
    return order, masks


def resampled(outline: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """A closed outline, (points, 2), of ``count`` points: Ultralytics' ``resample_segments``."""
    if len(outline) == count:
        return outline
    closed = np.concatenate((outline, outline[:1]))
    corners = np.arange(len(closed))
    many = len(closed) < count
    places = np.linspace(0, len(closed) - 1, count - len(closed) if many else count)
    if many:  # the corners stay
        places = np.insert(places, np.searchsorted(places, corners), corners)
    return np.stack([np.interp(places, corners, side) for side in closed.T], 1).astype(np.float32)


def _filled(outline: NDArray[np.float32], imgsz: tuple[int, int]) -> NDArray[np.uint8]:
    mask = np.zeros(imgsz, dtype=np.uint8)
    cv2.fillPoly(mask, [outline.astype(np.int32)], (1,))
    size = imgsz[1] // MASK_RATIO, imgsz[0] // MASK_RATIO
    return np.asarray(cv2.resize(mask, size), dtype=np.uint8)


def mask_iou(labels: NDArray[np.bool_], masks: NDArray[np.bool_]) -> FloatArray:
    """IoU of m labelled masks with n detected ones, shape (m, n), in float32."""
    # Counts of pixels are whole numbers that float32 holds exactly, and its product is fast.
    first, second = labels.astype(np.float32), masks.astype(np.float32)
    shared = np.tensordot(first, second, axes=((1, 2), (1, 2)))
    areas = first.sum(axis=(1, 2))[:, None] + second.sum(axis=(1, 2))
    overlap: FloatArray = shared / (areas - shared + np.float32(1e-7))
    return overlap
