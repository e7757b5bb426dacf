"""Step ``accuracy``: mean average precision of the exported file itself.

Figures are Ultralytics' own: confidence 0.001, one box may count for several classes, matching by
falling confidence to the best free label of the same class at IoU 0.50 to 0.95, 101-point
interpolation (``ultralytics.utils.metrics.ap_per_class``). Boxes are matched in pixels of the
letterbox, unclipped, as its detection validator does.

One thing differs from ``YOLO(file).val()`` on the same file: the image goes into the letterbox in
one resize, as in deployment, where Ultralytics' dataset resizes the long side first. For images
whose long side is the letterbox's, the figures are the same.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prunebench.child import Emit
from prunebench.errors import CheckpointError, DatasetError
from prunebench.files import write_atomically
from prunebench.records import Accuracy, FileRef, Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from prunebench.map_bootstrap import Detections

DETECTIONS_FILE = "detections.npz"
IOU_THRESHOLDS = 10
"""0.50, 0.55 ... 0.95."""

EVENTS = 50
"""Progress events of one evaluation."""


class Request(Record):
    """Input of the step.

    Attributes:
        onnx: Absolute path of the ONNX file.
        images: Absolute paths of the images.
        names: Class index to name.
        imgsz: (height, width) of the letterbox in pixels.
        confidence: Scores at or below are dropped.
        iou: IoU above which NMS drops a box.
        max_det: Most detections per image.
    """

    onnx: str
    images: tuple[str, ...]
    names: dict[int, str]
    imgsz: tuple[int, int]
    confidence: float
    iou: float
    max_det: int


def run(request: Request, workdir: Path, emit: Emit) -> Accuracy:
    """Evaluate an ONNX file on labelled images.

    ``detections.npz`` keeps every match, so that intervals can be bootstrapped over images:
    ``image`` (detections,) index into ``paths``, ``confidence`` (detections,), ``cls``
    (detections,), ``tp`` (detections, 10) whether it is a true positive at each IoU threshold,
    ``target_counts`` (images, classes) labelled objects, ``paths`` (images,).

    Raises:
        CheckpointError: The file cannot be loaded, or is made for another input or classes.
        DatasetError: An image or a label file cannot be read, or no object is labelled.
    """
    import numpy as np

    total = len(request.images)
    emit({"kind": "stage", "text": f"evaluating on {total} images"})
    matches = match_images(request, emit)
    check_labelled(matches, request.images)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        image=matches.image,
        confidence=matches.confidence.astype(np.float32),
        cls=matches.cls,
        tp=matches.tp,
        target_counts=matches.target_counts,
        paths=np.array(request.images),
    )
    target = workdir / DETECTIONS_FILE
    write_atomically(target, buffer.getvalue())
    ap = average_precision(matches)
    return Accuracy(
        map50=float(np.mean([values[0] for values in ap.values()])),
        map50_95=float(np.mean(list(ap.values()))),
        per_class={request.names[index]: float(values[0]) for index, values in ap.items()},
        per_class_50_95={request.names[i]: float(values.mean()) for i, values in ap.items()},
        images=total,
        instances=int(matches.target_counts.sum()),
        imgsz=request.imgsz,
        detections=FileRef.of(target, workdir),
    )


def match_images(request: Request, emit: Emit) -> Detections:
    """Run the network on every image and match what it finds to the labels.

    Raises:
        CheckpointError: The file cannot be loaded, or is made for another input or classes.
        DatasetError: An image or a label file cannot be read.
    """
    import numpy as np

    from prunebench.inference import OnnxNetwork, read_letterboxed
    from prunebench.latency.postprocess import decode_and_nms
    from prunebench.map_bootstrap import Detections

    total, classes = len(request.images), len(request.names)
    network = OnnxNetwork(Path(request.onnx), request.imgsz)
    found = [np.zeros((0, 3))]
    matched = [np.zeros((0, IOU_THRESHOLDS), dtype=bool)]
    target_counts = np.zeros((total, classes), dtype=np.int64)
    for index, path in enumerate(map(Path, request.images)):
        tensor, factor, offset = read_letterboxed(path, request.imgsz)
        output = network(tensor)[0]
        _check_classes(output.shape, classes, request.onnx)
        detections = decode_and_nms(
            output, classes, request.confidence, request.iou, request.max_det, multi_label=True
        )
        labels = _labels(path, classes)
        labels[:, 1:] = labels[:, 1:] * factor + offset
        target_counts[index] = np.bincount(labels[:, 0].astype(int), minlength=classes)
        found.append(np.column_stack((np.full(len(detections), index), detections[:, 4:])))
        matched.append(match(detections, labels))
        if (index + 1) % max(1, total // EVENTS) == 0 or index + 1 == total:
            emit({"kind": "progress", "done": index + 1, "total": total, "unit": "image"})
    table = np.concatenate(found)
    return Detections(
        image=table[:, 0].astype(np.int64),
        confidence=table[:, 1],
        cls=table[:, 2].astype(np.int64),
        tp=np.concatenate(matched),
        target_counts=target_counts,
    )


def check_labelled(matches: Detections, images: Sequence[str]) -> None:
    """Refuse images of which none has a labelled object: they have no average precision.

    Raises:
        DatasetError: There is none.
    """
    if not matches.target_counts.any():
        raise DatasetError(
            f"none of the {len(images)} images has a labelled object",
            where=Path(images[0]).parent if images else None,
            fix="evaluate on a labelled split",
        )


def _labels(image: Path, classes: int) -> NDArray[np.float64]:
    """Labels of an image, (m, 5), without repeated lines, which Ultralytics drops too."""
    import numpy as np

    from prunebench.data.labels import labels_of, read_labels

    file = labels_of(image)
    if not file.is_file():
        return np.zeros((0, 5))
    labels = read_labels(file, classes=classes)
    _, first = np.unique(labels, axis=0, return_index=True)
    return labels[np.sort(first)]


def match(detections: NDArray[np.float32], labels: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Match one image's detections to its labels as Ultralytics' ``match_predictions`` does.

    At each threshold a detection, best score first, takes the free label of its class that it
    overlaps most, if the IoU reaches the threshold.

    Args:
        detections: (n, 6) x1 y1 x2 y2 score class, best score first.
        labels: (m, 5) class, centre x, centre y, width, height in the same pixels.

    Returns:
        (n, 10), whether each detection is a true positive at IoU 0.50, 0.55 ... 0.95.
    """
    import numpy as np

    thresholds = np.linspace(0.5, 0.95, IOU_THRESHOLDS, dtype=np.float32)
    correct = np.zeros((len(detections), IOU_THRESHOLDS), dtype=bool)
    if not len(detections) or not len(labels):
        return correct
    overlaps = _iou(labels, detections[:, :4])
    overlaps[labels[:, 0][:, None] != detections[:, 5]] = 0
    columns = np.arange(IOU_THRESHOLDS)
    taken = np.zeros((len(labels), IOU_THRESHOLDS), dtype=bool)
    for index in np.flatnonzero((overlaps >= thresholds[0]).any(axis=0)):
        free = np.where(taken, np.float32(0), overlaps[:, index, None])
        best = free.argmax(axis=0)
        correct[index] = free[best, columns] >= thresholds
        taken[best, columns] |= correct[index]
    return correct


def average_precision(matches: Detections) -> dict[int, NDArray[np.float64]]:
    """Average precision of every labelled class, by Ultralytics' ``ap_per_class``.

    Returns:
        Class index to its AP at each IoU threshold, (10,), 0..1.
    """
    import numpy as np
    from ultralytics.utils.metrics import ap_per_class

    counts = matches.target_counts.sum(axis=0)
    targets = np.repeat(np.arange(len(counts)), counts)
    # In single precision, as Ultralytics keeps scores: it decides how ties are ordered.
    confidence = matches.confidence.astype(np.float32)
    results = ap_per_class(matches.tp, confidence, matches.cls, targets)
    values, classes = results[5], results[6]
    return {int(index): row for index, row in zip(classes, values, strict=True)}


def _iou(labels: NDArray[np.float64], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """IoU of m labels (class, centre, size) with n boxes (corners), shape (m, n), in float32."""
    import numpy as np

    half = labels[:, 3:] / 2
    corners = np.hstack((labels[:, 1:3] - half, labels[:, 1:3] + half)).astype(np.float32)
    low = np.maximum(corners[:, None, :2], boxes[:, :2])
    high = np.minimum(corners[:, None, 2:], boxes[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(edges[:, 2:] - edges[:, :2]).prod(axis=1) for edges in (corners, boxes)]
    overlap: NDArray[np.float32] = shared / (areas[0][:, None] + areas[1] - shared + 1e-7)
    return overlap


def _check_classes(shape: tuple[int, ...], classes: int, onnx: str) -> None:
    from prunebench.latency.postprocess import is_end_to_end

    channels = shape[1]
    known = (4 + classes, 4 + classes + 32)
    if not is_end_to_end(shape, classes) and channels not in known:
        raise CheckpointError(
            f"it predicts {channels - 4} classes, the dataset has {classes}", where=onnx
        )
