"""mAP50 with a bootstrap over images, paired between variants.

Every variant is resampled with the same images, so that an image all of them find hard cancels in
a difference. A resample only changes how often an image counts, so the cumulative sums of the
detections, sorted once, are weighted. The precision-recall curve is Ultralytics' ``compute_ap``
(101 points, precision envelope): only at true positives does its envelope change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from prunebench.common.records import Overlap

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Counts = npt.NDArray[np.float32]

RECALL_POINTS: Array = np.linspace(0, 1, 101)
EPSILON = 1e-16
CHUNK = 250  # Resamples computed at once; bounds the memory to CHUNK x true positives of a class.


@dataclass(frozen=True)
class Detections:
    """The matches of one variant on one list of images.

    ``image``, scores, classes: (detections,); ``tp``: true positive at each IoU threshold,
    (detections, 10); ``target_counts``: labelled objects, (images, classes).
    """

    image: Indices
    confidence: Array
    cls: Indices
    tp: npt.NDArray[np.bool_]
    target_counts: Indices

    @property
    def images(self) -> int:
        """Number of images."""
        return int(self.target_counts.shape[0])


def load_detections(path: Path, overlap: Overlap = "box") -> Detections:
    """Read what the accuracy step wrote; KeyError for masks of a detection network."""
    with np.load(path) as arrays:
        return Detections(
            image=arrays["image"].astype(np.int64),
            confidence=arrays["confidence"].astype(np.float64),
            cls=arrays["cls"].astype(np.int64),
            tp=arrays["tp" if overlap == "box" else "tp_mask"].astype(bool),
            target_counts=arrays["target_counts"].astype(np.int64),
        )


def image_weights(images: int, resamples: int, seed: int) -> Array:
    """How often each image occurs in each resample, shape (resamples, images)."""
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(images, np.full(images, 1 / images), size=resamples)
    return counts.astype(np.float64)


def mean_ap(detections: Detections, weights: Array, *, threshold: int = 0) -> Array:
    """Mean average precision over the classes that occur, 0..1, for every row of weights.

    ``weights``, (resamples, images), says how often each image counts; ``threshold`` is a column
    of ``tp``: 0 is IoU 0.50, 9 is IoU 0.95. NaN where a resample holds no labelled object.
    """
    return mean_of(class_ap(detections, weights, threshold=threshold))


def mean_of(found: Array) -> Array:
    """Mean over the classes of ``class_ap`` that a resample holds, NaN where it holds none."""
    present = np.isfinite(found)
    means = np.full(len(found), np.nan)
    counted = present.any(axis=1)
    means[counted] = np.nansum(found[counted], axis=1) / present[counted].sum(axis=1)
    return means


def class_ap(detections: Detections, weights: Array, *, threshold: int = 0) -> Array:
    """Average precision of each class, 0..1, shape (resamples, classes); as ``mean_ap``.

    NaN where a resample holds no labelled object of the class.
    """
    targets = weights @ detections.target_counts
    found = np.where(targets > 0, 0.0, np.nan)
    curves = list(_class_curves(detections, threshold))
    for start in range(0, len(weights), CHUNK):
        rows = slice(start, start + CHUNK)
        for index, image, since_last in curves:
            found[rows, index] = _class_ap(image, since_last, weights[rows], targets[rows, index])
    return found


def _class_ap(image: Indices, since_last: Counts, weights: Array, targets: Array) -> Array:
    """AP of one class for every row of ``weights`` (rows, images); NaN where ``targets`` are 0.

    Its true positives lie in ``image`` (true positives,), by falling confidence; ``since_last``
    (images, true positives) are the detections after the previous one up to and with each.
    """
    found = np.cumsum(weights[:, image], axis=1)
    # Whole numbers below 2**24 are exact in single precision, which halves the work.
    seen = np.cumsum(weights.astype(np.float32) @ since_last, axis=1, dtype=np.float64)
    precision = np.divide(found, seen, out=np.zeros_like(found), where=seen > 0)
    heights = np.zeros((len(weights), found.shape[1] + 1))
    heights[:, :-1] = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = found / (targets[:, None] + EPSILON)
    reached = np.stack([row.searchsorted(RECALL_POINTS, side="right") for row in recall])
    curve = np.take_along_axis(heights, reached, axis=1)
    areas = np.trapezoid(curve, RECALL_POINTS, axis=1)
    return np.where(targets > 0, areas, np.nan)


def _class_curves(detections: Detections, threshold: int) -> Iterator[tuple[int, Indices, Counts]]:
    """Class, ``image`` and ``since_last`` of every class with a true positive."""
    order = np.argsort(-detections.confidence, kind="stable")
    for index in range(detections.target_counts.shape[1]):
        chosen = order[detections.cls[order] == index]
        hits = detections.tp[chosen, threshold]
        if not hits.any():
            continue
        images = detections.image[chosen]
        segment = np.cumsum(hits) - hits
        counts = np.zeros((detections.images, int(hits.sum()) + 1), dtype=np.float32)
        np.add.at(counts, (images, segment), 1)
        yield index, images[hits], counts[:, :-1]
