"""mAP50 with a bootstrap over images, paired between variants.

The precision-recall curve is Ultralytics' ``compute_ap`` (101 points, precision envelope): only at
true positives does its envelope change. A resample changes how much each image counts, so the
cumulative sums of the detections, sorted once, are weighted.

The bootstrap is Rubin's Bayesian one (Annals of Statistics 9, 1981): weights are exponential, so a
class never vanishes from a resample. Where it may, as with Efron's, the mean is over other classes
each time and its interval lopsided. But what few images tell of a class varies less around their
own mean than around the truth, and one image does not vary at all. So, by Kish's effective number n
of the images that hold a class (Survey Sampling, 1965),

- its deviations from its own mean are stretched by the root of (n + 1) / (n - 1), and
- in the mean over classes they are mixed with those of others, scaled to n images: a share of
  ``PRIOR`` / (n - 1 + ``PRIOR``) of its resamples borrows from another class. That is the moderated
  variance of empirical Bayes (Smyth, Statistical Applications in Genetics and Molecular Biology 3,
  2004); who lends and with which sign is drawn, once for all variants.

What the loan is worth is known from as many classes as lend: Welch and Satterthwaite's degrees of
freedom, by which the deviations of the mean are stretched once more. They are centred on the mAP50
of all images; ``benchmarks/coverage.py`` simulates what the intervals cover. Every variant has the
same resamples, so that an image all of them find hard cancels in a difference.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from prunebench.common.plain import Overlap

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Counts = npt.NDArray[np.float32]

RECALL_POINTS: Array = np.linspace(0, 1, 101)
EPSILON = 1e-16
PRIOR = 10.0  # Images for which the other classes speak in the spread of one.
MOST_LENT = 9.0  # Degrees of freedom beyond which a class lends no more often.
USUAL_LEVEL = 0.95  # Confidence level that few lending classes are allowed for at.
CHUNK = 250  # Resamples computed at once; bounds the memory to CHUNK x true positives of a class.


@dataclass(frozen=True)
class Detections:
    """The matches of one variant on one list of images.

    ``image``, scores, classes: (detections,); ``tp``: true positive at each IoU threshold,
    (detections, 10); ``target_counts``: labelled objects, (images, classes). ``of`` is what they
    were matched by; of ``top1`` the detections of an image are its most likely classes, best first.
    """

    image: Indices
    confidence: Array
    cls: Indices
    tp: npt.NDArray[np.bool_]
    target_counts: Indices
    of: Overlap = "box"

    @property
    def images(self) -> int:
        """Number of images."""
        return int(self.target_counts.shape[0])

    def right(self, best: int) -> npt.NDArray[np.bool_]:
        """Whether the class of each image is among its ``best`` most likely, (images,)."""
        firsts = np.searchsorted(self.image, self.image)
        hits = self.tp[:, 0] & (np.arange(len(self.image)) - firsts < best)
        return np.bincount(self.image[hits], minlength=self.images) > 0


def hits_of(overlap: Overlap) -> str:
    """Name of the array of the true positives by an overlap."""
    return "tp" if overlap in ("box", "top1") else f"tp_{overlap}"


def load_detections(path: Path, overlap: Overlap = "box") -> Detections:
    """Read what the accuracy step wrote; KeyError for what the network does not predict."""
    with np.load(path) as arrays:
        return Detections(
            image=arrays["image"].astype(np.int64),
            confidence=arrays["confidence"].astype(np.float64),
            cls=arrays["cls"].astype(np.int64),
            tp=arrays[hits_of(overlap)].astype(bool),
            target_counts=arrays["target_counts"].astype(np.int64),
            of=overlap,
        )


class Scores(NamedTuple):
    """mAP50 of a variant, 0..1, and of its classes (classes,), NaN for those without an object; or
    the shares of images that a classification is right about.

    ``draws``, (resamples,), and ``class_draws``, (resamples, classes), are spread around them as
    they may be off.
    """

    map50: float
    draws: Array
    classes: Array
    class_draws: Array


def mean_of(scores: Sequence[Scores]) -> Scores:
    """The mean of several trainings' scores, by the same resamples."""
    map50, *arrays = (np.mean(part, axis=0) for part in zip(*scores, strict=True))
    return Scores(float(map50), *arrays)


class Resamples:
    """The same resamples of the images for every variant, by their ``target_counts``."""

    def __init__(self, target_counts: Indices, count: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._seed = seed
        images = len(target_counts)
        weights = rng.exponential(size=(count, images))
        self.weights: Array = weights * (images / weights.sum(axis=1, keepdims=True))
        self._present = np.flatnonzero(target_counts.sum(axis=0))
        objects = target_counts[:, self._present].astype(np.float64)
        self._held = effective_images(objects)
        freedom = self._held - 1
        lends = np.where(self._held >= 2, np.minimum(freedom, MOST_LENT), 0.0)
        shape = count, len(self._present)
        self._lender = np.tile(np.arange(shape[1]), (count, 1))
        self._sign, self._stretch = np.ones(shape), 1.0
        if lends.any():
            lends /= lends.sum()
            borrowed = PRIOR / (np.where(self._held >= 2, freedom, 0.0) + PRIOR)
            borrowed[lends == 1] = 0.0  # It is the only one that lends.
            borrows = rng.random(shape) < borrowed
            self._lender[borrows] = rng.choice(shape[1], size=borrows.sum(), p=lends)
            self._sign[borrows] = rng.choice((-1.0, 1.0), size=borrows.sum())
            share = float((borrowed / self._held).sum() / (1 / self._held).sum())
            self._stretch = _allowance(share, max(1.0, 1 / float((lends**2).sum()) - 1), images)

    def scores(self, detections: Detections) -> Scores:
        """Scores of a variant on these images."""
        if detections.of == "top1":
            return self._shares(detections)
        (classes,) = class_ap(detections, np.ones((1, detections.images)))
        draws = class_ap(detections, self.weights)
        if not len(self._present):
            return Scores(math.nan, np.full(len(draws), math.nan), classes, draws)
        found = draws[:, self._present]
        n = self._held
        off = (found - found.mean(axis=0)) * np.sqrt((n + 1) / np.maximum(n - 1, 1))
        draws[:, self._present] = classes[self._present] + off
        lent = np.take_along_axis(off * np.sqrt(n), self._lender, axis=1) * self._sign / np.sqrt(n)
        map50 = float(classes[self._present].mean())
        return Scores(map50, map50 + self._stretch * lent.mean(axis=1), classes, draws)

    def _shares(self, detections: Detections) -> Scores:
        """Shares of images that are right, of all and of each class.

        A resample of images that are all right has no spread, and few that differ between two
        variants too little. So the variance is at least that of Laplace's estimate, (right + 1) /
        (images + 2): what is lacking is added as noise, which is another for other answers, so that
        variants that answer alike stay alike.
        """
        right: Array = detections.right(1).astype(np.float64)
        groups: Array = np.hstack((np.ones((len(right), 1)), detections.target_counts > 0))
        number = groups.sum(axis=0)
        with np.errstate(invalid="ignore"):
            shares = right @ groups / number
            found = (self.weights @ (groups * right[:, None])) / (self.weights @ groups)
            off = (found - found.mean(axis=0)) * np.sqrt((number + 1) / np.maximum(number - 1, 1))
            likely = (right @ groups + 1) / (number + 2)
            lacking = likely * (1 - likely) - shares * (1 - shares)
            spread = np.sqrt(np.maximum(lacking, 0) / number)
        rng = np.random.default_rng([self._seed, zlib.crc32(right.tobytes())])
        draws = shares + off + spread * rng.standard_normal(off.shape)
        return Scores(float(shares[0]), draws[:, 0], shares[1:], draws[:, 1:])


def effective_images(objects: Array) -> Array:
    """Kish's number of images for the ``objects`` of each class, (images, classes), none of 0."""
    number: Array = objects.sum(axis=0) ** 2 / (objects**2).sum(axis=0)
    return number


def _allowance(borrowed: float, of_lenders: float, images: int) -> float:
    """Student's t of the spread's own degrees of freedom by that of ``images`` - 1."""
    usual = max(images - 1, 1)
    own = 1 / ((1 - borrowed) ** 2 / usual + borrowed**2 / of_lenders)
    few, many = special.stdtrit([min(own, usual), usual], 0.5 + USUAL_LEVEL / 2)
    return float(few / many)


def mean_ap(detections: Detections, weights: Array, *, threshold: int = 0) -> Array:
    """Mean average precision over the classes that occur, 0..1, for every row of weights.

    ``weights``, (resamples, images), says how much each image counts; ``threshold`` is a column
    of ``tp``: 0 is IoU 0.50, 9 is IoU 0.95. NaN where a resample holds no labelled object.
    """
    found = class_ap(detections, weights, threshold=threshold)
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
    # Single precision halves the work; whole numbers below 2**24 are exact in it.
    seen = np.cumsum(weights.astype(np.float32) @ since_last, axis=1, dtype=np.float64)
    precision = np.divide(found, seen, out=np.zeros_like(found), where=seen > 0)
    heights = np.zeros((len(weights), found.shape[1] + 1))
    heights[:, :-1] = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    # Above 1 by rounding alone, where a curve is 0 at 1 itself.
    recall = np.minimum(found / (targets[:, None] + EPSILON), 1.0)
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
