"""Changes of each class's AP50 against the baseline, with intervals paired by image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from prunebench.common.records import Interval
from prunebench.common.statistics import Array, Location, holm, interval
from prunebench.measuring.map_bootstrap import Detections, image_weights, load_detections, mean_ap
from prunebench.results.ranking.compare import FEWEST_IMAGES
from prunebench.results.report.stored import ReportedRun

RESAMPLES = 500


@dataclass(frozen=True)
class ClassChange:
    """The class ``name`` of one variant against the baseline's, in AP50 (0..1).

    Attributes:
        objects: Labelled objects of it.
        change: ``after - before`` with its interval.
        shown: Whether there is a change, corrected for every class of every variant.
    """

    variant: str
    name: str
    objects: int
    before: float
    after: float
    change: Interval
    shown: bool


def class_changes(run: ReportedRun) -> tuple[ClassChange, ...]:
    """Every class of every variant; empty without a baseline or without its detections."""
    baseline = run.baseline
    if baseline is None or baseline.audit is None or not (path := run.detections(baseline)):
        return ()
    names = baseline.audit.structure.names
    metric = run.config.ranking.metric
    reference = load_detections(path, metric)
    images = reference.images
    weights = np.vstack((np.ones(images), image_weights(images, RESAMPLES, run.config.seed)))
    objects = reference.target_counts.sum(axis=0)
    present = [index for index in names if index < len(objects) and objects[index]]
    before = _by_class(reference, present, weights)
    level = run.config.ranking.level
    changes, p_values = [], []
    for variant in run.variants:
        if variant is baseline or not (path := run.detections(variant)):
            continue
        after = _by_class(load_detections(path, metric), present, weights)
        for index in present:
            difference = after[index] - before[index]
            estimate, draws = float(difference[0]), difference[1:]
            error = Location(estimate, float(np.nanstd(draws)), images - 1, 0)
            p_values.append(error.p_value() if images >= FEWEST_IMAGES else 1.0)
            changes.append(
                ClassChange(
                    variant=variant.name,
                    name=names[index],
                    objects=int(objects[index]),
                    before=float(before[index][0]),
                    after=float(after[index][0]),
                    change=interval(estimate, draws, level),
                    shown=False,
                )
            )
    return tuple(
        replace(change, shown=p <= 1 - level)
        for change, p in zip(changes, holm(p_values), strict=True)
    )


def _by_class(detections: Detections, present: list[int], weights: Array) -> Mapping[int, Array]:
    """AP50 of each class for every row of weights."""
    return {index: mean_ap(_only(detections, index), weights) for index in present}


def _only(detections: Detections, index: int) -> Detections:
    """The detections and labels of one class."""
    kept = detections.cls == index
    targets = np.zeros_like(detections.target_counts)
    targets[:, index] = detections.target_counts[:, index]
    return Detections(
        image=detections.image[kept],
        confidence=detections.confidence[kept],
        cls=detections.cls[kept],
        tp=detections.tp[kept],
        target_counts=targets,
    )
