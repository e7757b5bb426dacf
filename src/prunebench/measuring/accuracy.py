"""Step ``accuracy``: mean average precision of the exported file itself, or its top-1.

Figures are Ultralytics' own: confidence 0.001, one box may count for several classes, matching by
falling confidence to the best free label of the same class at IoU 0.50 to 0.95, 101-point
interpolation (``ultralytics.utils.metrics.ap_per_class``). Boxes are matched in letterbox pixels,
unclipped, as in its detection validator.

What else a head predicts is scored too, as its adapter says (``measuring/heads``). A classification
has the share of images whose most likely class is right, as ``ClassifyMetrics`` counts.

One thing differs from ``YOLO(file).val()``: the image goes into the letterbox in one resize, as in
deployment, where Ultralytics' dataset resizes the long side first. For images whose long side is
the letterbox's, the figures are the same.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prunebench.common.errors import CheckpointError, DatasetError
from prunebench.common.files import write_atomically
from prunebench.common.records import Accuracy, FileRef, Overlap, Record, Runtime
from prunebench.common.text import counted
from prunebench.measuring.heads.classify import TOP
from prunebench.measuring.map_bootstrap import Detections, hits_of
from prunebench.measuring.session import SessionSettings
from prunebench.steps.events import Emit, Evaluating, Progress

if TYPE_CHECKING:
    from prunebench.measuring.heads.detect import Detect

Network = Callable[[NDArray[np.float32]], Sequence[NDArray[np.float32]]]
"""Gives the outputs for one image."""

IOU_THRESHOLDS = 10  # 0.50, 0.55 ... 0.95.
EVENTS = 50  # Progress events of one evaluation.


class Request(Record):
    """Input of the step: absolute paths, class index to name, (height, width) of the letterbox.

    Scores at or below ``confidence`` are dropped, and so are boxes that overlap a better one by
    more than ``iou``; ``session`` is what latency is measured with, ``options`` those in its place,
    ``sigmas`` the spreads of keypoints that the dataset gives. ``runtime``: ``onnx`` is a file of
    that one, and run there.
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
    sigmas: tuple[float, ...] = ()
    runtime: Runtime | None = None


def run(request: Request, workdir: Path, emit: Emit) -> Accuracy:
    """Evaluate an ONNX file on labelled images.

    ``detections.npz`` keeps every match, so that intervals can be bootstrapped over images:
    ``image`` (detections,) index into ``paths``, ``confidence`` and ``cls`` (detections,), ``tp``
    (detections, 10) whether it is a true positive at each IoU threshold, ``tp_mask`` the same by
    its mask and so on, where the head predicts more than boxes, ``target_counts`` (images, classes)
    labelled objects, ``paths``. Of a classification the detections of an image are its most likely
    classes, best first.

    Raises:
        CheckpointError: The file cannot be loaded, or is made for another input or classes.
        DatasetError: An image or label file cannot be read, no object is labelled, or labels are
            not what the network's task needs.
    """
    total = len(request.images)
    emit(Evaluating(images=total))
    matches = match_images(request, emit)
    main, boxes = next(iter(matches.items()))
    check_labelled(boxes, request.images)
    arrays: dict[str, Any] = {
        "image": boxes.image,
        "confidence": boxes.confidence.astype(np.float32),
        "cls": boxes.cls,
        "target_counts": boxes.target_counts,
        "paths": np.array(request.images),
        **{hits_of(overlap): found.tp for overlap, found in matches.items()},
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    target = workdir / "detections.npz"
    write_atomically(target, buffer.getvalue())
    return Accuracy(
        **{
            name: value
            for overlap, found in matches.items()
            for name, value in figures(found, "" if overlap == main else f"{overlap}_").items()
        },
        images=total,
        instances=int(boxes.target_counts.sum()),
        imgsz=request.imgsz,
        detections=FileRef.of(target, workdir),
        metric="top1" if main == "top1" else "map50",
    )


def figures(matches: Detections, prefix: str = "") -> dict[str, Any]:
    """The figures of ``records.Accuracy`` that follow from matches, their names prefixed."""
    if matches.of == "top1":
        return shares_right(matches)
    ap = average_precision(matches)
    return {
        f"{prefix}map50": float(np.mean([values[0] for values in ap.values()])),
        f"{prefix}map50_95": float(np.mean(list(ap.values()))),
        f"{prefix}per_class": {i: float(values[0]) for i, values in ap.items()},
        f"{prefix}per_class_50_95": {i: float(values.mean()) for i, values in ap.items()},
    }


def shares_right(matches: Detections) -> dict[str, Any]:
    """The figures of a classification: top-1 in the place of mAP50, top-5 in that of mAP50-95."""
    shares = [matches.right(best).astype(np.float32) for best in (1, TOP)]
    labels = matches.target_counts.argmax(axis=1)
    by_class = [
        {int(kind): float(share[labels == kind].mean()) for kind in np.unique(labels)}
        for share in shares
    ]
    named = ("map50", "map50_95", "per_class", "per_class_50_95")
    return dict(zip(named, (*(float(share.mean()) for share in shares), *by_class), strict=True))


def match_images(request: Request, emit: Emit) -> dict[Overlap, Detections]:
    """Match what the network finds on every image to the labels, by all that it predicts."""
    from prunebench.measuring.inference import OnnxNetwork

    opened = (request.imgsz, request.session, request.sigmas, request.options, request.runtime)
    network = OnnxNetwork(Path(request.onnx), *opened)
    return match_network(network, network.head, request, emit)


def match_network(
    network: Network, head: Detect, request: Request, emit: Emit
) -> dict[Overlap, Detections]:
    """As ``match_images``, of a network that is loaded already."""
    from prunebench.measuring.heads.detect import Rules
    from prunebench.measuring.inference import read_input

    total, classes = len(request.images), len(request.names)
    settings = (request.confidence, request.iou, request.max_det)
    rules = Rules(classes, request.imgsz, *settings, multi_label=True)
    found = [np.zeros((0, 3))]
    matched = {each: [np.zeros((0, IOU_THRESHOLDS), dtype=bool)] for each in head.overlaps}
    target_counts = np.zeros((total, classes), dtype=np.int64)
    for index, path in enumerate(map(Path, request.images)):
        tensor, *frame = read_input(path, request.imgsz, head)
        outputs = network(tensor)
        _check_classes(head.classes_of(outputs[0].shape, classes), classes, request.onnx)
        detections = head.find(outputs, rules)
        boxes, shapes = _labels(path, request.names, head)
        truth = head.truth(boxes, shapes, (frame[0], frame[1]), request.imgsz)
        kinds, rows = truth.rows[:, 0], detections.rows
        target_counts[index] = np.bincount(kinds.astype(int), minlength=classes)
        found.append(np.column_stack((np.full(len(rows), index), rows[:, 4:6])))
        for each, overlaps in head.overlap(truth, detections).items():
            matched[each].append(match(overlaps, kinds, rows[:, 5]))
        if (index + 1) % max(1, total // EVENTS) == 0 or index + 1 == total:
            emit(Progress(done=index + 1, total=total, unit="image"))
    table = np.concatenate(found)
    return {
        each: Detections(
            image=table[:, 0].astype(np.int64),
            confidence=table[:, 1],
            cls=table[:, 2].astype(np.int64),
            tp=np.concatenate(hits),
            target_counts=target_counts,
            of=each,
        )
        for each, hits in matched.items()
    }


def check_labelled(matches: Detections, images: Sequence[str]) -> None:
    """Refuse, with a DatasetError, images of which none has a labelled object: they have no AP."""
    if not matches.target_counts.any():
        raise DatasetError(
            f"none of the {len(images)} images has a labelled object",
            where=Path(images[0]).parent if images else None,
            fix="evaluate on a labelled split",
        )


def deciding(found: Mapping[Overlap, Detections]) -> Detections:
    """By the most that a network predicts: a mask is cut out by its box and suffers with it."""
    *_, last = found.values()
    return last


def deciding_map50(found: Mapping[Overlap, Detections], images: Sequence[str]) -> float:
    """What a loss is judged by; raises as ``check_labelled``."""
    matches = deciding(found)
    check_labelled(matches, images)
    return float(figures(matches)["map50"])


def _labels(
    image: Path, names: Mapping[int, str], head: Detect
) -> tuple[NDArray[np.float64], list[NDArray[np.float32]]]:
    """Labels of an image, (m, 5), and the shape of each, repeated lines left out."""
    from prunebench.data.labels import objects_of

    labels, shapes = objects_of(image, names, task=head.task, points=head.points)
    lines = [(*row, shape.tobytes()) for row, shape in zip(labels, shapes, strict=True)]
    kept = sorted({line: index for index, line in reversed([*enumerate(lines)])}.values())
    return labels[kept], [shapes[index] for index in kept]


def match(
    overlaps: NDArray[np.float32], wanted: NDArray[np.float64], found: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Match one image's detections to its labels as Ultralytics' ``match_predictions`` does.

    At each threshold a detection, best score first, takes the free label of its class that it
    overlaps most, if the IoU reaches the threshold. ``overlaps`` are IoU (m labels, n detections),
    ``wanted`` and ``found`` the classes of both. Returns (n, 10), whether each is a true positive
    at IoU 0.50, 0.55 ... 0.95.
    """
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


def _check_classes(found: int, classes: int, onnx: str) -> None:
    if found != classes:
        raise CheckpointError(
            f"it predicts {counted(found, 'class', 'classes')}, the dataset has {classes}",
            where=onnx,
        )
