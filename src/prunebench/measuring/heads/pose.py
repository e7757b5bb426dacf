"""Keypoints of each box, scored by their similarity (OKS) as in Ultralytics' pose validator.

A keypoint that is off by its spread, relative to the object's size, counts e^(-1/8) of one that is
right; those that are not labelled do not count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from prunebench.common.plain import Overlap
from prunebench.measuring.heads.detect import Detect, Drawing, Found, Hook, Outputs, Truth
from prunebench.measuring.postprocess import FloatArray

SIDES = (0.25, 0.35, 0.79, 0.72, 0.62, 1.07, 0.87, 0.89)
OF_PERSONS = (0.26, *(sigma for sigma in SIDES for _ in range(2)))
"""Ten times the spread of each of COCO's keypoints."""

BOX_SHARE = 0.53
"""An object's area by its box's, as COCO's evaluation estimates it."""

SEEN = 0.5  # A keypoint that is less is not drawn.


@dataclass(frozen=True)
class Pose(Detect):
    """Boxes, and in each the keypoints of its object.

    Attributes:
        shape: Number of keypoints and values of each: x, y and, of three, how likely it is seen.
        sigmas: Spread of each keypoint; empty: Ultralytics' defaults.
    """

    shape: tuple[int, int] = (17, 3)
    sigmas: tuple[float, ...] = ()

    task: ClassVar[str] = "pose"
    words: ClassVar[str] = "a pose model"
    layers: ClassVar[tuple[str, ...]] = ("Pose", "Pose26")
    overlaps: ClassVar[tuple[Overlap, ...]] = ("box", "pose")
    hub_task: ClassVar[str] = "keypoint-detection"

    @property
    def points(self) -> tuple[int, int]:
        """Number of keypoints and values of each."""
        return self.shape

    @property
    def extra(self) -> int:
        """As ``Detect``'s."""
        return self.shape[0] * self.shape[1]

    @classmethod
    def predictions(cls, layer: Any) -> list[str]:
        """As ``Detect``'s; YOLO26 predicts places and how sure they are from one branch."""
        ends = ("cv4_kpts", "cv4_sigma", "one2one_cv4_kpts", "one2one_cv4_sigma")
        own = [
            f"{end}.{level}"
            for end in ends
            for level in range(len(getattr(layer, end, None) or ()))
        ]
        if not own:
            own = [f"cv4.{level}.{len(branch) - 1}" for level, branch in enumerate(layer.cv4)]
        return [*super().predictions(layer), *own]

    @classmethod
    def training_only(cls, layer: Any) -> list[tuple[Any, Hook]]:
        """YOLO26's convolutions that say how sure a place is."""
        found = []
        for prefix in ("", "one2one_"):
            branches, ends = (getattr(layer, f"{prefix}{n}", None) for n in ("cv4", "cv4_sigma"))
            found += [
                (b, _running(end)) for b, end in zip(branches or (), ends or (), strict=False)
            ]
        return found

    def truth(
        self,
        boxes: NDArray[np.float64],
        shapes: Sequence[NDArray[np.float32]],
        frame: tuple[NDArray[np.float64], NDArray[np.float64]],
        imgsz: tuple[int, int],
    ) -> Truth:
        """As ``Detect``'s, with the keypoints of each, (m, points, 3)."""
        keypoints = np.ones((len(boxes), self.shape[0], 3), dtype=np.float32)
        if len(boxes):
            given = np.stack(shapes)
            keypoints[..., :2] = given[..., :2] * frame[0][:2] + frame[1][:2]
            # Of two values, one outside the image says that it is not labelled.
            seen = given[..., 2] if self.shape[1] == 3 else (given >= 0).all(axis=2)
            keypoints[..., 2] = seen
        return Truth(super().truth(boxes, shapes, frame, imgsz).rows, keypoints)

    def targets(self, truths: Sequence[Truth], imgsz: tuple[int, int]) -> dict[str, NDArray[Any]]:
        """As ``Detect``'s, with the keypoints."""
        keypoints = np.concatenate([truth.shapes for truth in truths])
        keypoints[..., :2] /= np.array([imgsz[1], imgsz[0]], dtype=np.float32)
        return {**super().targets(truths, imgsz), "keypoints": keypoints}

    def overlap(self, truth: Truth, found: Found) -> Mapping[Overlap, NDArray[np.float32]]:
        """Of the boxes, and the similarity of the keypoints."""
        places = found.rows[:, 6:].reshape(len(found.rows), *self.shape)[..., :2]
        areas = truth.rows[:, 3:].astype(np.float32).prod(axis=1) * np.float32(BOX_SHARE)
        similarity = keypoint_similarity(truth.shapes, places, areas, self._spread())
        return {**super().overlap(truth, found), "pose": similarity}

    def _spread(self) -> FloatArray:
        if self.sigmas:
            return np.array(self.sigmas, dtype=np.float32)
        if self.shape == (17, 3):
            return np.array(OF_PERSONS, dtype=np.float32) / np.float32(10)
        return np.full(self.shape[0], 1 / self.shape[0], dtype=np.float32)

    def drawn(self, objects: Found | Truth) -> list[Drawing]:
        """As ``Detect``'s, with the keypoints; NaN are those that are not seen."""
        points = objects.shapes
        if isinstance(objects, Found):
            points = objects.rows[:, 6:].reshape(len(objects.rows), *self.shape)
        least = SEEN if isinstance(objects, Found) else 0
        return [
            drawing._replace(
                dots=np.where(of[:, 2:] > least, of[:, :2], np.nan) if of.shape[1] == 3 else of
            )
            for drawing, of in zip(super().drawn(objects), points, strict=True)
        ]

    def differences(self, actual: Outputs, expected: Outputs, classes: int) -> tuple[float, float]:
        """As ``Detect``'s, with the places of keypoints, and how likely they are seen."""
        px, score = super().differences(actual, expected, classes)
        gaps = np.abs(actual[0][0][4 + classes :] - expected[0][0][4 + classes :])
        gaps = gaps.reshape(*self.shape, -1)
        px = float(np.maximum(px, gaps[:, :2].max()))
        if self.shape[1] == 3:
            score = float(np.maximum(score, gaps[:, 2].max()))
        return px, score


def _running(end: Any) -> Hook:
    def run(_: Any, __: Any, output: Any) -> None:
        end(output)

    return run


def keypoint_similarity(
    labels: FloatArray, found: FloatArray, areas: FloatArray, spread: FloatArray
) -> FloatArray:
    """OKS of m labels, (m, points, 3), with n detections, (n, points, 2), as ``kpt_iou``."""
    apart = ((labels[:, None, :, :2] - found) ** 2).sum(axis=3)
    scale = (2 * spread) ** 2 * (areas[:, None, None] + np.float32(1e-7)) * 2
    labelled = labels[..., 2] != 0
    near = (np.exp(-apart / scale) * labelled[:, None]).sum(axis=2)
    similarity: FloatArray = near / (labelled.sum(axis=1)[:, None] + np.float32(1e-7))
    return similarity.astype(np.float32)
