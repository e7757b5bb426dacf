"""Changes of each class's AP50 against the baseline, with intervals paired by image."""

from __future__ import annotations

from collections import Counter
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
    """A class of one variant against the baseline's, in AP50 (0..1).

    Attributes:
        id: Of the class; two classes may have one name.
        name: What it is called here, and no other class is.
        objects: Labelled objects of it.
        change: ``after - before`` with its interval.
        shown: Whether there is a change, corrected for every class of every variant.
    """

    variant: str
    id: int
    name: str
    objects: int
    before: Interval
    after: Interval
    change: Interval
    shown: bool


def class_changes(run: ReportedRun) -> tuple[ClassChange, ...]:
    """Every class of every variant; empty without a baseline or without its detections."""
    baseline = run.baseline
    if baseline is None or baseline.audit is None or not (path := run.detections(baseline)):
        return ()
    names = class_labels(baseline.audit.structure.names)
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
            change = _interval(difference, level)
            error = Location(change.estimate, float(np.nanstd(difference[1:])), images - 1, 0)
            p_values.append(error.p_value() if images >= FEWEST_IMAGES else 1.0)
            changes.append(
                ClassChange(
                    variant=variant.name,
                    id=index,
                    name=names[index],
                    objects=int(objects[index]),
                    before=_interval(before[index], level),
                    after=_interval(after[index], level),
                    change=change,
                    shown=False,
                )
            )
    return tuple(
        replace(change, shown=p <= 1 - level)
        for change, p in zip(changes, holm(p_values), strict=True)
    )


def class_labels(names: Mapping[int, str]) -> dict[int, str]:
    """Names of classes, with the number of the class where a name is blank or not the only one."""
    often = Counter(names.values())
    return {
        index: name if name.strip() and often[name] == 1 else f"{name} #{index}".strip()
        for index, name in names.items()
    }


def _interval(values: Array, level: float) -> Interval:
    """The interval of an estimate, the first of the values, by its draws, the others."""
    return interval(float(values[0]), values[1:], level)


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
