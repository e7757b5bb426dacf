"""Step ``accuracy``: mean average precision of the exported file itself.

Figures are Ultralytics' own: confidence 0.001, one box may count for several classes, matching by
falling confidence to the best free label of the same class at IoU 0.50 to 0.95, 101-point
interpolation (``ultralytics.utils.metrics.ap_per_class``). Boxes are matched in letterbox pixels,
unclipped, as in its detection validator.

A segmentation network is scored by its masks too, as in Ultralytics' segmentation validator:
detected masks at a quarter of the letterbox, cropped to their boxes (``process_mask``); labelled
polygons filled in the letterbox and reduced alike, where they overlap the smaller object keeping
the pixels (``overlap_mask``); the IoU is that of the pixels (``mask_iou``).

One thing differs from ``YOLO(file).val()``: the image goes into the letterbox in one resize, as in
deployment, where Ultralytics' dataset resizes the long side first. For images whose long side is
the letterbox's, the figures are the same.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunebench.common.errors import CheckpointError, DatasetError
from prunebench.common.files import write_atomically
from prunebench.common.records import Accuracy, FileRef, Record
from prunebench.common.text import counted
from prunebench.measuring.map_bootstrap import Detections
from prunebench.measuring.session import SessionSettings
from prunebench.steps.events import Emit, Evaluating, Progress

IOU_THRESHOLDS = 10  # 0.50, 0.55 ... 0.95.
MASK_RATIO = 4  # Pixels of the letterbox across one of a mask: Ultralytics' default and its heads'.
OUTLINE_POINTS = 1000  # Points Ultralytics resamples a labelled outline to, if it has no more.
EVENTS = 50  # Progress events of one evaluation.


class Request(Record):
    """Input of the step: absolute paths, class index to name, (height, width) of the letterbox.

    Scores at or below ``confidence`` are dropped, and so are boxes that overlap a better one by
    more than ``iou``; ``session`` is what latency is measured with, ``options`` those in its place.
    """

    onnx: str
    images: tuple[str, ...]
    names: dict[int, str]
    imgsz: tuple[int, int]
    confidence: float
    iou: float
    max_det: int
    session: SessionSettings
    options: dict[str, bool | int | str] | None = None


def run(request: Request, workdir: Path, emit: Emit) -> Accuracy:
    """Evaluate an ONNX file on labelled images.

    ``detections.npz`` keeps every match, so that intervals can be bootstrapped over images:
    ``image`` (detections,) index into ``paths``, ``confidence`` and ``cls`` (detections,), ``tp``
    (detections, 10) whether it is a true positive at each IoU threshold, ``tp_mask`` the same by
    its mask (segmentation only), ``target_counts`` (images, classes) labelled objects, ``paths``.

    Raises:
        CheckpointError: The file cannot be loaded, or is made for another input or classes.
        DatasetError: An image or label file cannot be read, no object is labelled, or a
            segmentation network meets labels that are boxes.
    """
    total = len(request.images)
    emit(Evaluating(images=total))
    boxes, masks = match_images(request, emit)
    check_labelled(boxes, request.images)
    arrays: dict[str, Any] = {
        "image": boxes.image,
        "confidence": boxes.confidence.astype(np.float32),
        "cls": boxes.cls,
        "tp": boxes.tp,
        "target_counts": boxes.target_counts,
        "paths": np.array(request.images),
    }
    if masks is not None:
        arrays["tp_mask"] = masks.tp
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    target = workdir / "detections.npz"
    write_atomically(target, buffer.getvalue())
    return Accuracy(
        **figures(boxes),
        **({} if masks is None else figures(masks, "mask_")),
        images=total,
        instances=int(boxes.target_counts.sum()),
        imgsz=request.imgsz,
        detections=FileRef.of(target, workdir),
    )


def figures(matches: Detections, prefix: str = "") -> dict[str, Any]:
    """The figures of ``records.Accuracy`` that follow from matches, their names prefixed."""
    ap = average_precision(matches)
    return {
        f"{prefix}map50": float(np.mean([values[0] for values in ap.values()])),
        f"{prefix}map50_95": float(np.mean(list(ap.values()))),
        f"{prefix}per_class": {i: float(values[0]) for i, values in ap.items()},
        f"{prefix}per_class_50_95": {i: float(values.mean()) for i, values in ap.items()},
    }


def match_images(request: Request, emit: Emit) -> tuple[Detections, Detections | None]:
    """Match what the network finds on every image to the labels: by box, and by mask if any."""
    from prunebench.measuring.inference import OnnxNetwork, read_letterboxed
    from prunebench.measuring.postprocess import build_masks, decode_and_nms

    total, classes = len(request.images), len(request.names)
    network = OnnxNetwork(Path(request.onnx), request.imgsz, request.session, request.options)
    found = [np.zeros((0, 3))]
    matched = [np.zeros((0, IOU_THRESHOLDS), dtype=bool)]
    matched_masks: list[NDArray[np.bool_]] = []
    target_counts = np.zeros((total, classes), dtype=np.int64)
    for index, path in enumerate(map(Path, request.images)):
        tensor, factor, offset = read_letterboxed(path, request.imgsz)
        outputs = network(tensor)
        _check_classes(outputs[0].shape, classes, request.onnx)
        detections = decode_and_nms(
            outputs[0], classes, request.confidence, request.iou, request.max_det, multi_label=True
        )
        labels, polygons = _labels(path, classes, outlined=len(outputs) > 1)
        labels[:, 1:] = labels[:, 1:] * factor + offset
        if len(outputs) > 1:
            order, wanted = draw_masks(polygons, factor[:2], offset[:2], request.imgsz)
            labels = labels[order]
            overlaps = _mask_iou(wanted, build_masks(outputs[1], detections, request.imgsz))
            matched_masks.append(_match(overlaps, labels[:, 0], detections[:, 5]))
        target_counts[index] = np.bincount(labels[:, 0].astype(int), minlength=classes)
        found.append(np.column_stack((np.full(len(detections), index), detections[:, 4:6])))
        matched.append(match(detections, labels))
        if (index + 1) % max(1, total // EVENTS) == 0 or index + 1 == total:
            emit(Progress(done=index + 1, total=total, unit="image"))
    table = np.concatenate(found)
    boxes = Detections(
        image=table[:, 0].astype(np.int64),
        confidence=table[:, 1],
        cls=table[:, 2].astype(np.int64),
        tp=np.concatenate(matched),
        target_counts=target_counts,
    )
    if not matched_masks:
        return boxes, None
    return boxes, replace(boxes, tp=np.concatenate(matched_masks))


def check_labelled(matches: Detections, images: Sequence[str]) -> None:
    """Refuse, with a DatasetError, images of which none has a labelled object: they have no AP."""
    if not matches.target_counts.any():
        raise DatasetError(
            f"none of the {len(images)} images has a labelled object",
            where=Path(images[0]).parent if images else None,
            fix="evaluate on a labelled split",
        )


def _labels(
    image: Path, classes: int, *, outlined: bool
) -> tuple[NDArray[np.float64], list[NDArray[np.float32]]]:
    """Labels of an image, (m, 5), and polygons where it is outlined, repeated lines left out."""
    from prunebench.data.labels import labels_of, read_labels, read_polygons

    file = labels_of(image)
    if not file.is_file():
        return np.zeros((0, 5)), []
    if outlined:
        labels, polygons = read_polygons(file, classes=classes)
        lines = [(kind, line.tobytes()) for kind, line in zip(labels[:, 0], polygons, strict=True)]
    else:
        labels, polygons = read_labels(file, classes=classes), []
        lines = [tuple(row) for row in labels]
    kept = sorted({line: index for index, line in reversed([*enumerate(lines)])}.values())
    return labels[kept], [polygons[index] for index in kept if outlined]


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
    from ultralytics.data.utils import polygons2masks_overlap
    from ultralytics.utils.ops import resample_segments

    if not polygons:
        shape = imgsz[0] // MASK_RATIO, imgsz[1] // MASK_RATIO
        return np.zeros(0, dtype=np.intp), np.zeros((0, *shape), dtype=np.bool_)
    longest = max(map(len, polygons))
    points = OUTLINE_POINTS if longest <= OUTLINE_POINTS else longest + 1
    # In single precision throughout: coordinates are cut to whole pixels, often right on one.
    scale, shift = factor.astype(np.float32), offset.astype(np.float32)
    outlines = [each * scale + shift for each in resample_segments(list(polygons), n=points)]
    owners, order = polygons2masks_overlap(imgsz, outlines, downsample_ratio=MASK_RATIO)
    return order, owners == np.arange(1, len(order) + 1)[:, None, None]


def match(detections: NDArray[np.float32], labels: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Match one image's detections to its labels as Ultralytics' ``match_predictions`` does.

    At each threshold a detection, best score first, takes the free label of its class that it
    overlaps most, if the IoU reaches the threshold. ``detections`` are (n, 6 or more), x1 y1 x2 y2
    score class, ``labels`` (m, 5), class, centre x, centre y, width, height in the same pixels.
    Returns (n, 10), whether each is a true positive at IoU 0.50, 0.55 ... 0.95.
    """
    return _match(_iou(labels, detections[:, :4]), labels[:, 0], detections[:, 5])


def _match(
    overlaps: NDArray[np.float32], wanted: NDArray[np.float64], found: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Match by IoU (m labels, n detections), given the classes of both."""
    thresholds = np.linspace(0.5, 0.95, IOU_THRESHOLDS, dtype=np.float32)
    correct = np.zeros((len(found), IOU_THRESHOLDS), dtype=bool)
    if not len(found) or not len(wanted):
        return correct
    overlaps[wanted[:, None] != found] = 0
    columns = np.arange(IOU_THRESHOLDS)
    taken = np.zeros((len(wanted), IOU_THRESHOLDS), dtype=bool)
    for index in np.flatnonzero((overlaps >= thresholds[0]).any(axis=0)):
        free = np.where(taken, np.float32(0), overlaps[:, index, None])
        best = free.argmax(axis=0)
        correct[index] = free[best, columns] >= thresholds
        taken[best, columns] |= correct[index]
    return correct


def average_precision(matches: Detections) -> dict[int, NDArray[np.float64]]:
    """AP of every labelled class at each IoU threshold, (10,), by Ultralytics' ``ap_per_class``."""
    from ultralytics.utils.metrics import ap_per_class

    counts = matches.target_counts.sum(axis=0)
    targets = np.repeat(np.arange(len(counts)), counts)
    # In single precision, as Ultralytics keeps scores: it decides how ties are ordered.
    confidence = matches.confidence.astype(np.float32)
    *_, values, classes = ap_per_class(matches.tp, confidence, matches.cls, targets)[:7]
    return {int(index): row for index, row in zip(classes, values, strict=True)}


def _iou(labels: NDArray[np.float64], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """IoU of m labels (class, centre, size) with n boxes (corners), shape (m, n), in float32."""
    half = labels[:, 3:] / 2
    corners = np.hstack((labels[:, 1:3] - half, labels[:, 1:3] + half)).astype(np.float32)
    low = np.maximum(corners[:, None, :2], boxes[:, :2])
    high = np.minimum(corners[:, None, 2:], boxes[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(edges[:, 2:] - edges[:, :2]).prod(axis=1) for edges in (corners, boxes)]
    overlap: NDArray[np.float32] = shared / (areas[0][:, None] + areas[1] - shared + 1e-7)
    return overlap


def _mask_iou(labels: NDArray[np.bool_], masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """IoU of m labelled masks with n detected ones, shape (m, n), in float32."""
    # Counts of pixels are whole numbers that float32 holds exactly, and its product is fast.
    first, second = labels.astype(np.float32), masks.astype(np.float32)
    shared = np.tensordot(first, second, axes=((1, 2), (1, 2)))
    areas = first.sum(axis=(1, 2))[:, None] + second.sum(axis=(1, 2))
    overlap: NDArray[np.float32] = shared / (areas - shared + np.float32(1e-7))
    return overlap


def _check_classes(shape: tuple[int, ...], classes: int, onnx: str) -> None:
    from prunebench.measuring.postprocess import is_end_to_end

    found = shape[1] - 4
    if not is_end_to_end(shape, classes) and found not in (classes, classes + 32):
        raise CheckpointError(
            f"it predicts {counted(found, 'class', 'classes')}, the dataset has {classes}",
            where=onnx,
        )
