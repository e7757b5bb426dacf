"""A class of the whole image, scored by how often it is the most likely one (top-1).

An image becomes the input as in Ultralytics' classification validator: resized by Pillow's bilinear
filter, which averages all pixels that become one, so that its shorter side fills the input, and cut
to the middle; resized without keeping its aspect where the input is no square.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from prunebench.common.plain import Overlap
from prunebench.measuring.heads.detect import Detect, Drawing, Found, Outputs, Rules, Truth
from prunebench.measuring.postprocess import FloatArray

if TYPE_CHECKING:
    from cv2.typing import MatLike

TOP = 5
"""Classes that are looked at beyond the most likely one."""

FRACTION_BITS = 22  # Of Pillow's weights, which are whole numbers.


class Classify(Detect):
    """Classes of images: one row of ``Found`` for each that is among the most likely.

    Its box is the whole input.
    """

    task: ClassVar[str] = "classify"
    words: ClassVar[str] = "a classification model"
    layers: ClassVar[tuple[str, ...]] = ("Classify",)
    branches: ClassVar[tuple[str, ...]] = ()
    overlaps: ClassVar[tuple[Overlap, ...]] = ("top1",)
    hub_task: ClassVar[str] = "image-classification"
    default_side: ClassVar[int] = 224
    framing: ClassVar[str] = (
        "of an image whose shorter side is resized to that (bilinear, as Pillow does) and whose "
        "middle is cut out"
    )
    thresholds: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def predictions(cls, layer: Any) -> list[str]:
        """The last layer alone."""
        return ["linear"]

    @classmethod
    def classes_in(cls, layer: Any) -> int:
        """As ``Detect``'s."""
        return int(layer.linear.out_features)

    def framed(
        self, image: MatLike, imgsz: tuple[int, int]
    ) -> tuple[FloatArray, tuple[float, float], tuple[int, int]]:
        """As ``Detect``'s; what the middle leaves out lies outside the input."""
        height, width = image.shape[:2]
        rows, columns = imgsz
        if rows == columns:
            short = min(height, width)
            # As torchvision's Resize and CenterCrop round.
            rows, columns = (int(imgsz[0] * side / short) for side in (height, width))
        top, left = (
            round((side - own) / 2) for side, own in zip((rows, columns), imgsz, strict=True)
        )
        pixels = resized(image, (rows, columns), (top, left), imgsz)
        tensor: FloatArray = np.empty((1, 3, *imgsz), dtype=np.float32)
        np.divide(pixels[..., ::-1].transpose(2, 0, 1), np.float32(255), out=tensor[0])
        return tensor, (columns / width, rows / height), (-left, -top)

    def classes_of(self, shape: Sequence[int], wanted: int) -> int:
        """As ``Detect``'s."""
        return shape[1]

    def is_end_to_end(self, shape: Sequence[int], classes: int) -> bool:
        """There is nothing to suppress, and nothing that would be finished without it."""
        return False

    def decode(self, output: FloatArray, rules: Rules) -> FloatArray:
        """The most likely class, or with ``multi_label`` the ``TOP`` most likely, best first."""
        scores = output[0]
        count = min(TOP if rules.multi_label else 1, len(scores))
        best = np.argsort(-scores, kind="stable")[:count]
        found: FloatArray = np.zeros((count, 6), dtype=np.float32)
        found[:, 2:4] = rules.imgsz[1], rules.imgsz[0]
        found[:, 4], found[:, 5] = scores[best], best
        return found

    def truth(
        self,
        boxes: NDArray[np.float64],
        shapes: Sequence[NDArray[np.float32]],
        frame: tuple[NDArray[np.float64], NDArray[np.float64]],
        imgsz: tuple[int, int],
    ) -> Truth:
        """The class of the image, of the whole input."""
        rows = boxes.copy()
        height, width = imgsz
        rows[:, 1:] = width / 2, height / 2, width, height
        return Truth(rows)

    def targets(self, truths: Sequence[Truth], imgsz: tuple[int, int]) -> dict[str, NDArray[Any]]:
        """The class of each image of a batch."""
        return {"cls": np.array([truth.rows[0, 0] for truth in truths], dtype=np.int64)}

    def overlap(self, truth: Truth, found: Found) -> Mapping[Overlap, NDArray[np.float32]]:
        """Each is of the whole image."""
        return {"top1": np.ones((len(truth.rows), len(found.rows)), dtype=np.float32)}

    def drawn(self, objects: Found | Truth) -> list[Drawing]:
        """Nothing is drawn: what it is stands beside the picture."""
        nowhere = np.zeros(4, dtype=np.float32)
        return [Drawing(nowhere) for _ in objects.rows]

    def differences(self, actual: Outputs, expected: Outputs, classes: int) -> tuple[float, float]:
        """Places it predicts none; probabilities."""
        return 0.0, float(np.abs(actual[0] - expected[0]).max())


def resized(
    image: MatLike, size: tuple[int, int], corner: tuple[int, int], part: tuple[int, int]
) -> NDArray[np.uint8]:
    """A part of an image, (H, W, 3) uint8, that Pillow's bilinear filter resizes to ``size``.

    ``size`` and ``part`` are (height, width), ``corner`` (top, left) of the part. As in Pillow
    weights are whole numbers, and one direction is rounded before the other is summed; which one is
    first is its choice, too (of version 13; the others begin with the width).
    """
    lost, narrower = (was - now for was, now in zip(image.shape, size, strict=False))
    if lost > max(0, 2 * narrower):
        turned = image.transpose(1, 0, 2)
        return _resized(turned, size[::-1], corner[::-1], part[::-1]).transpose(1, 0, 2)
    return _resized(image, size, corner, part)


def _resized(
    image: MatLike, size: tuple[int, int], corner: tuple[int, int], part: tuple[int, int]
) -> NDArray[np.uint8]:
    """As above, the width first."""
    (top, left), (height, width) = corner, part
    rows, of_rows = _weights(image.shape[0], size[0], top, height)
    columns, of_columns = _weights(image.shape[1], size[1], left, width)
    first, last = int(rows.min()), int(rows.max()) + 1
    used: NDArray[np.uint8] = image[first:last].astype(np.uint8, copy=False)
    if image.shape[1] != size[1]:
        wide = np.ascontiguousarray(used.transpose(1, 0, 2)).reshape(len(used[0]), -1)
        used = _summed(wide, columns, of_columns).reshape(width, len(used), 3).transpose(1, 0, 2)
    else:
        used = used[:, left : left + width]
    if image.shape[0] == size[0]:
        return np.ascontiguousarray(used[top - first : top - first + height])
    tall = np.ascontiguousarray(used).reshape(len(used), -1)
    return _summed(tall, rows - first, of_rows).reshape(height, width, 3)


def _summed(
    lines: NDArray[np.uint8], taken: NDArray[np.intp], weights: NDArray[np.int32]
) -> NDArray[np.uint8]:
    """Weighted sums of lines, (n, values), one for each of (m, taps)."""
    total = np.full((len(taken), lines.shape[1]), 1 << (FRACTION_BITS - 1), dtype=np.int32)
    part = np.empty_like(total)
    for tap in range(taken.shape[1]):
        np.multiply(lines[taken[:, tap]], weights[:, tap, None], out=part)
        total += part
    total >>= FRACTION_BITS
    return total.astype(np.uint8)


@lru_cache(maxsize=64)
def _weights(
    length: int, new: int, start: int, count: int
) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """Pixels that become each of ``count`` from ``start`` on, and their weights, (count, taps).

    Pillow's ``precompute_coeffs`` for a triangle, as whole numbers.
    """
    scale = length / new
    reach = max(scale, 1.0)
    centres = (np.arange(start, start + count) + 0.5) * scale
    lows = np.maximum((centres - reach + 0.5).astype(np.intp), 0)
    highs = np.minimum((centres + reach + 0.5).astype(np.intp), length)
    taken = lows[:, None] + np.arange(int((highs - lows).max()))
    weights = np.maximum(1 - np.abs((taken - centres[:, None] + 0.5) / reach), 0)
    weights[taken >= highs[:, None]] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    whole = (0.5 + weights * (1 << FRACTION_BITS)).astype(np.int32)
    return np.minimum(taken, length - 1), whole
