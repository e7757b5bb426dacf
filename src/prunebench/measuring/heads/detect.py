"""Boxes, and what every head that finds objects has in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from prunebench.common.plain import Overlap
from prunebench.measuring.postprocess import (
    FloatArray,
    decode_and_nms,
    is_end_to_end,
    letterbox,
)

if TYPE_CHECKING:
    from cv2.typing import MatLike

NOTHING = np.zeros((0, 2), dtype=np.float32)
AS_GOOD_AS_EQUAL = 1e-5  # Difference of scores that two files may have by rounding.
Outputs = Sequence[FloatArray]
Hook = Callable[[Any, Any, Any], None]
"""What PyTorch calls with a module, its inputs and its output."""


class Rules(NamedTuple):
    """What postprocessing is asked for: classes, (height, width) in pixels, thresholds.

    With ``multi_label`` one box may count for several classes.
    """

    classes: int
    imgsz: tuple[int, int]
    confidence: float
    iou: float
    max_det: int
    multi_label: bool = False


class Found(NamedTuple):
    """What is found on an image: (n, 6 or more) x1 y1 x2 y2 score class and what else a head says.

    In letterbox pixels, as what else is of them (``shapes``).
    """

    rows: FloatArray
    shapes: Any = None


class Truth(NamedTuple):
    """What is labelled on an image: class, centre x, centre y, width, height, (m, 5), and shapes.

    In letterbox pixels.
    """

    rows: NDArray[np.float64]
    shapes: Any = None


class Drawing(NamedTuple):
    """An object on a picture, in letterbox pixels.

    ``box`` is x1 y1 x2 y2; ``outline``, (points, 2), is drawn in its place. ``dots``, (keypoints,
    2), are drawn with it, but for those that are NaN.
    """

    box: FloatArray
    outline: FloatArray = NOTHING
    dots: FloatArray = NOTHING


@dataclass(frozen=True)
class Detect:
    """Boxes along the axes.

    Attributes:
        task: Ultralytics' name of what the head is for, and the same in ``words``.
        layers: Classes of the last layer that are such heads.
        branches: Attributes that are a list of branches, a level of the pyramid each, of which the
            last convolution predicts.
        overlaps: What its accuracy is measured by, the first by default.
        hub_task: A model hub's name of the task.
        default_side: Ultralytics' default size of images, in pixels.
        framing: What ``framed`` does to an image, in words.
        thresholds: What deploying it asks for besides, by Ultralytics' names.
    """

    task: ClassVar[str] = "detect"
    words: ClassVar[str] = "a detection model"
    layers: ClassVar[tuple[str, ...]] = ("Detect", "v10Detect")
    branches: ClassVar[tuple[str, ...]] = ("cv2", "cv3", "one2one_cv2", "one2one_cv3")
    overlaps: ClassVar[tuple[Overlap, ...]] = ("box",)
    hub_task: ClassVar[str] = "object-detection"
    default_side: ClassVar[int] = 640
    framing: ClassVar[str] = "letterboxed"
    thresholds: ClassVar[tuple[str, ...]] = ("conf", "iou", "max_det")

    @property
    def points(self) -> tuple[int, int] | None:
        """Number of keypoints and values of each; ``None`` of a head that predicts none."""
        return None

    @property
    def extra(self) -> int:
        """Columns of a detection beyond its box, score and class."""
        return 0

    @classmethod
    def predictions(cls, layer: Any) -> list[str]:
        """Names, below the last layer, of the convolutions that loss and decoding read."""
        return [
            f"{branch}.{level}.{len(convolutions) - 1}"
            for branch in cls.branches
            for level, convolutions in enumerate(getattr(layer, branch, None) or ())
        ]

    @classmethod
    def training_only(cls, layer: Any) -> list[tuple[Any, Hook]]:
        """Modules and what runs behind each in training alone, reading channels of it."""
        return []

    @classmethod
    def classes_in(cls, layer: Any) -> int:
        """Classes that a last layer predicts."""
        return int(layer.nc)

    def framed(
        self, image: MatLike, imgsz: tuple[int, int]
    ) -> tuple[FloatArray, float | tuple[float, float], tuple[int, int]]:
        """What becomes of an image, (H, W, 3) BGR, before the network sees it: as ``letterbox``.

        The scale may be one for each of x and y.
        """
        return letterbox(image, imgsz)

    def classes_of(self, shape: Sequence[int], wanted: int) -> int:
        """Classes that an output of this shape predicts, where ``wanted`` are."""
        return wanted if self.is_end_to_end(shape, wanted) else shape[1] - 4 - self.extra

    def is_end_to_end(self, shape: Sequence[int], classes: int) -> bool:
        """Whether a first output of this shape holds finished detections (no NMS needed)."""
        return is_end_to_end(shape, classes, self.extra)

    def find(self, outputs: Outputs, rules: Rules) -> Found:
        """Turn a network's outputs into what a deployment uses, best score first."""
        return Found(self.decode(outputs[0], rules))

    def decode(self, output: FloatArray, rules: Rules) -> FloatArray:
        """The detections of a first output, (n, 6 + extra)."""
        return decode_and_nms(
            output,
            rules.classes,
            rules.confidence,
            rules.iou,
            rules.max_det,
            multi_label=rules.multi_label,
            extra=self.extra,
        )

    def truth(
        self,
        boxes: NDArray[np.float64],
        shapes: Sequence[NDArray[np.float32]],
        frame: tuple[NDArray[np.float64], NDArray[np.float64]],
        imgsz: tuple[int, int],
    ) -> Truth:
        """Labels in letterbox pixels.

        ``boxes`` (m, 5), class, centre, size, and each one's ``shapes`` (points, 2 or 3) are
        relative to the image, ``frame`` is factor and offset, (4,) each, into the letterbox.
        """
        factor, offset = frame
        rows = boxes.copy()
        rows[:, 1:] = rows[:, 1:] * factor + offset
        return Truth(rows)

    def targets(self, truths: Sequence[Truth], imgsz: tuple[int, int]) -> dict[str, NDArray[Any]]:
        """The labels of a batch, as Ultralytics' loss takes them: relative to the letterbox."""
        rows = np.concatenate([truth.rows for truth in truths]).astype(np.float32)
        frame = np.array([imgsz[1], imgsz[0]] * 2, dtype=np.float32)
        return {"cls": rows[:, :1], "bboxes": rows[:, 1:] / frame}

    def overlap(self, truth: Truth, found: Found) -> Mapping[Overlap, NDArray[np.float32]]:
        """IoU of m labels with n detections, (m, n), by what it is taken of."""
        return {"box": box_iou(truth.rows, found.rows[:, :4])}

    def drawn(self, objects: Found | Truth) -> list[Drawing]:
        """What a picture shows of each object."""
        if isinstance(objects, Found):
            return [Drawing(row[:4]) for row in objects.rows]
        edges = corners(objects.rows[:, 1:].T.astype(np.float32)).T
        return [Drawing(row) for row in edges]

    def comparable(
        self, actual: Outputs, expected: Outputs, classes: int
    ) -> tuple[Outputs, Outputs]:
        """Outputs as raw ones: finished detections each beside the nearest one of the other file.

        Their order is that of their scores, which may be as good as equal; and so may be those of
        the last one and of what was cut behind it, so the last ones are left out.
        """
        if not self.is_end_to_end(expected[0].shape, classes):
            return actual, expected
        here, there = actual[0][0], expected[0][0]
        last = max(float(rows[:, 4].min()) for rows in (here, there)) + AS_GOOD_AS_EQUAL
        apart = np.abs(here[:, None, :4] - there[:, :4]).max(axis=2)
        apart += 100 * np.abs(here[:, None, 4] - there[:, 4])
        apart += 1e6 * (here[:, None, 5] != there[:, 5])
        pairs = [
            *((i, int(apart[i].argmin())) for i in np.flatnonzero(here[:, 4] > last)),
            *((int(apart[:, i].argmin()), i) for i in np.flatnonzero(there[:, 4] > last)),
        ] or [*zip(range(len(here)), range(len(there)), strict=True)]
        ours, theirs = (
            self._raw(rows[list(order)], classes)
            for rows, order in zip((here, there), zip(*pairs, strict=True), strict=True)
        )
        return [ours, *actual[1:]], [theirs, *expected[1:]]

    def _raw(self, rows: FloatArray, classes: int) -> FloatArray:
        """Finished detections as an output that has yet to be decoded."""
        scores = np.where(np.arange(classes)[:, None] == rows[:, 5], rows[:, 4], 0)
        raw: FloatArray = np.vstack((self._centred(rows[:, :4].T), scores, rows[:, 6:].T))
        return raw[None].astype(np.float32)

    def _centred(self, boxes: FloatArray) -> FloatArray:
        """Centres and sizes, (4, n), of the boxes of finished detections."""
        return np.concatenate(((boxes[:2] + boxes[2:]) / 2, boxes[2:] - boxes[:2]))

    def differences(self, actual: Outputs, expected: Outputs, classes: int) -> tuple[float, float]:
        """Largest difference of two files' raw outputs: of places in pixels, of anything else."""
        predicted, wanted = actual[0][0], expected[0][0]
        px = np.abs(corners(predicted[:4]) - corners(wanted[:4])).max()
        score = np.abs(predicted[4 : 4 + classes] - wanted[4 : 4 + classes]).max()
        return float(px), float(score)


def corners(boxes: FloatArray) -> FloatArray:
    """Edges x1 y1 x2 y2 of centres and sizes, (4, n) both."""
    return np.concatenate((boxes[:2] - boxes[2:] / 2, boxes[:2] + boxes[2:] / 2))


def box_iou(labels: NDArray[np.float64], boxes: FloatArray) -> NDArray[np.float32]:
    """IoU of m labels (class, centre, size) with n boxes (corners), shape (m, n), in float32."""
    half = labels[:, 3:] / 2
    edges = np.hstack((labels[:, 1:3] - half, labels[:, 1:3] + half)).astype(np.float32)
    low = np.maximum(edges[:, None, :2], boxes[:, :2])
    high = np.minimum(edges[:, None, 2:], boxes[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(each[:, 2:] - each[:, :2]).prod(axis=1) for each in (edges, boxes)]
    overlap: NDArray[np.float32] = shared / (areas[0][:, None] + areas[1] - shared + 1e-7)
    return overlap
