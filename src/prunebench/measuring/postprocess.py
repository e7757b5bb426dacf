"""Letterbox, decoding and masks of Ultralytics ONNX models with numpy and OpenCV alone.

A deployment would run this code around the network, so latency times it and accuracy uses the very
same functions. They follow Ultralytics: ``data/augment.py`` ``LetterBox`` with ``auto=False,
scaleup=True, center=True`` and ``utils/nms.py`` ``non_max_suppression`` to the last bit, and
``utils/ops.py`` ``process_mask`` but for how a sum is rounded; the tests compare the originals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from cv2.typing import MatLike

FloatArray = NDArray[np.float32]

PADDING_GREY = 114
MAX_NMS_CANDIDATES = 30_000
CLASS_OFFSET_PX = np.float32(7680)  # Moves classes apart, so that one NMS handles all.
NMS_BLOCK = 128  # Candidates compared at once: more than a deployed model usually has.


def letterbox(image_bgr: MatLike, hw: tuple[int, int]) -> tuple[FloatArray, float, tuple[int, int]]:
    """Scale an image, (H, W, 3) BGR uint8, without distortion into (height, width) ``hw`` on grey.

    Returns the network input, (1, 3, height, width) RGB in 0..1, C-contiguous; the scale that takes
    image pixels to frame pixels; and the (left, top) padding in pixels.
    """
    height, width = image_bgr.shape[:2]
    scale = min(hw[0] / height, hw[1] / width)
    scaled_wh = max(round(width * scale), 1), max(round(height * scale), 1)
    framed = image_bgr
    if (width, height) != scaled_wh:
        framed = cv2.resize(framed, scaled_wh, interpolation=cv2.INTER_LINEAR)
    pad_x, pad_y = (hw[1] - scaled_wh[0]) / 2, (hw[0] - scaled_wh[1]) / 2
    # The 0.1 sends an odd padding's extra pixel right and down whatever round() does at .5.
    left, right = round(pad_x - 0.1), round(pad_x + 0.1)
    top, bottom = round(pad_y - 0.1), round(pad_y + 0.1)
    framed = cv2.copyMakeBorder(
        framed, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(PADDING_GREY,) * 3
    )
    tensor: FloatArray = np.empty((1, 3, *hw), dtype=np.float32)
    # Dividing (not multiplying by 1/255) gives the same float32 as torch's img / 255.
    np.divide(framed[..., ::-1].transpose(2, 0, 1), np.float32(255), out=tensor[0])
    return tensor, scale, (left, top)


def decode_and_nms(
    output: FloatArray,
    nc: int,
    conf: float,
    iou: float,
    max_det: int,
    *,
    multi_label: bool = False,
    extra: int = 0,
) -> FloatArray:
    """Turn a network's first output into detections.

    ``output`` is (1, 4 + nc + extra, anchors), boxes as centre, width and height with class scores
    and what else a head says of each; or (1, detections, 6 + extra) of a head that ends in
    detections already (YOLO26), which is only cut at ``conf`` and ``max_det``. Scores at or below
    ``conf`` are dropped, and so are boxes that overlap a better one of their class by more than
    ``iou``. With ``multi_label`` one box may count for several classes, as validation does;
    deployment keeps the best class only. Returns (n, 6 + extra) x1 y1 x2 y2 score class and the
    rest, in letterbox pixels, best score first (an end-to-end head keeps its own order).
    """
    if is_end_to_end(output.shape, nc, extra):
        return finished(output[0], conf, max_det)
    candidates, anchors = candidates_of(output[0], nc, conf, multi_label and nc > 1)
    order = np.argsort(-candidates[:, 4], kind="stable")[:MAX_NMS_CANDIDATES]
    boxes = candidates[order, :4] + candidates[order, 5:6] * CLASS_OFFSET_PX
    kept = order[_greedy_nms(boxes, iou, max_det)]
    if not extra:
        return candidates[kept]
    return np.hstack((candidates[kept], output[0][4 + nc :, anchors[kept]].T))


def finished(rows: FloatArray, conf: float, max_det: int) -> FloatArray:
    """Detections of a head that ends in them, (n, 6 or more), cut."""
    cut: FloatArray = rows[rows[:, 4] > conf][:max_det].astype(np.float32)
    return cut


def build_masks(
    prototypes: FloatArray, detections: FloatArray, hw: tuple[int, int]
) -> NDArray[np.bool_]:
    """Masks of a segmentation network's detections, each cropped to its box.

    ``prototypes`` is the network's second output, (1, 32, rows, columns), ``detections``
    (n, 6 + 32) from ``decode_and_nms``, ``hw`` (height, width) of the letterbox in pixels. The
    result, (n, rows, columns), has the prototypes' resolution, a quarter of the letterbox's, at
    which Ultralytics' validator scores masks; its predictor also enlarges them, left out here.
    """
    count, rows, columns = prototypes.shape[1:]
    logits = detections[:, 6:] @ prototypes.reshape(count, -1)
    masks: NDArray[np.bool_] = logits.reshape(-1, rows, columns) > 0
    ratios = np.array([columns / hw[1], rows / hw[0]] * 2, dtype=np.float32)
    x1, y1, x2, y2 = (detections[:, :4] * ratios).T[:, :, None]
    x, y = np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32)
    masks &= ((x >= x1) & (x < x2))[:, None, :]
    masks &= ((y >= y1) & (y < y2))[:, :, None]
    return masks


def is_end_to_end(shape: Sequence[int], nc: int, extra: int = 0) -> bool:
    """Whether an output of this shape holds finished detections (no NMS needed)."""
    return shape[2] == 6 + extra and shape[1] != 4 + nc + extra


def candidates_of(
    channels: FloatArray, nc: int, conf: float, multi_label: bool
) -> tuple[FloatArray, NDArray[np.intp]]:
    """(n, 6) rows above ``conf`` of (4 + nc + extra, anchors), and the anchor of each, in order."""
    scores = channels[4 : 4 + nc]
    anchors = np.flatnonzero(scores.max(axis=0) > conf)
    scores = scores[:, anchors].T
    if multi_label:
        rows, classes = np.nonzero(scores > conf)
    else:
        rows, classes = np.arange(len(anchors)), scores.argmax(axis=1)
    anchors = anchors[rows]
    centre, half = channels[:2, anchors], channels[2:4, anchors] / 2
    table: FloatArray = np.empty((len(rows), 6), dtype=np.float32)
    table[:, :2] = (centre - half).T
    table[:, 2:4] = (centre + half).T
    table[:, 4] = scores[rows, classes]
    table[:, 5] = classes
    return table, anchors


def _greedy_nms(boxes: FloatArray, iou: float, max_det: int) -> NDArray[np.intp]:
    """Indices of boxes (n, 4), best first, that no better survivor overlaps too much; in blocks."""
    kept: list[NDArray[np.intp]] = [np.empty(0, dtype=np.intp)]
    count, left = 0, np.arange(len(boxes))
    while len(left) and count < max_det:
        block, left = left[:NMS_BLOCK], left[NMS_BLOCK:]
        apart = ~_overlap_more(boxes[block], boxes[block], iou)
        alive = np.ones(len(block), dtype=np.bool_)
        chosen = []
        for index in range(len(block)):
            if alive[index]:
                chosen.append(index)
                alive &= apart[index]
        kept.append(block[chosen])
        count += len(chosen)
        if len(left):
            left = left[~_overlap_more(boxes[kept[-1]], boxes[left], iou).any(axis=0)]
    return np.concatenate(kept)[:max_det]


def _overlap_more(first: FloatArray, second: FloatArray, iou: float) -> NDArray[np.bool_]:
    """(n, m) whether boxes (n, 4) and (m, 4) overlap by more than ``iou``, as in torchvision."""
    x1, y1, x2, y2 = first.T[:, :, None]
    u1, v1, u2, v2 = second.T[:, None, :]
    width = np.maximum(np.minimum(x2, u2) - np.maximum(x1, u1), np.float32(0))
    height = np.maximum(np.minimum(y2, v2) - np.maximum(y1, v1), np.float32(0))
    overlap = width * height
    union = (x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - overlap
    with np.errstate(invalid="ignore"):
        return np.asarray(overlap / union > np.float64(iou), dtype=np.bool_)
