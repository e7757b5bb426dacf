"""What variants gained and lost in single classes, from the resamples of the images.

A class may occur in a handful of images, and of those a bootstrap is too sure: where every image of
a class says the same, its draws do not spread at all. So their spread is judged by Student's t with
the degrees of freedom of the images that hold the class, and no p-value is below what a sign test
could give over as many. Their number is Kish's effective one (Survey Sampling, 1965), as an image
with most of a class's objects decides most of the draws: 1 for a class that lies in one image, of
which nothing is ever shown.

The changes of every class of every variant are one family for Holm's correction: at most one run
in twenty declares any false change. The losses beyond ``max_class_loss`` are a second one.
``benchmarks/class_errors.py`` simulates both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from prunebench.common.records import Interval
from prunebench.common.statistics import (
    Array,
    Location,
    holm,
    interval,
    of_draws,
    over_trainings,
)
from prunebench.config.ranking import RankingConfig
from prunebench.measuring.map_bootstrap import Indices, Scores, effective_images
from prunebench.results.ranking.changes import Origins
from prunebench.results.ranking.compare import FEWEST_IMAGES
from prunebench.results.ranking.measured import ClassFigures, MeasuredVariant
from prunebench.results.ranking.records import ClassChange


def class_figures(
    target_counts: Indices,
    scores: Scores,
    names: Mapping[int, str],
    trainings: Sequence[Scores] = (),
) -> dict[int, ClassFigures]:
    """Every class labelled in ``target_counts``, (images, classes), by its id.

    ``scores`` are the mean of those of the ``trainings``, where there are several.
    """
    labels = class_labels(names)
    return {
        index: ClassFigures(
            name=labels.get(index, f"#{index}"),
            objects=int(target_counts[:, index].sum()),
            images=float(effective_images(target_counts[:, index].astype(np.float64))),
            ap50=float(scores.classes[index]),
            draws=scores.class_draws[:, index],
            trainings=tuple(float(one.classes[index]) for one in trainings),
        )
        for index in map(int, np.flatnonzero(target_counts.sum(axis=0)))
    }


def class_labels(names: Mapping[int, str]) -> dict[int, str]:
    """Names of classes, with the number of the class where a name is blank or not the only one."""
    often = Counter(names.values())
    return {
        index: name if name.strip() and often[name] == 1 else f"{name} #{index}".strip()
        for index, name in names.items()
    }


def reference_of(
    variant: MeasuredVariant, measured: Sequence[MeasuredVariant]
) -> MeasuredVariant | None:
    """The unpruned variant whose classes a variant's are compared with; the baseline has none.

    Of a retrained variant it is the unpruned network retrained alike, where there is one.
    """
    origins = Origins(measured)
    if variant is origins.baseline:
        return None
    return origins.retrained_alike(variant) or origins.baseline


def class_changes(
    measured: Sequence[MeasuredVariant], config: RankingConfig
) -> Mapping[str, tuple[ClassChange, ...]]:
    """The changes that are shown, by variant, the largest loss first."""
    found: list[tuple[str, ClassChange]] = []
    changed, over, limit = [], [], config.max_class_loss
    for variant in measured:
        reference = reference_of(variant, measured)
        if reference is None or variant.images < FEWEST_IMAGES:
            continue
        for index, now in variant.classes.items():
            before = reference.classes[index]
            change, draws = now.ap50 - before.ap50, now.draws - before.draws
            trainings = now.trainings, before.trainings
            changed.append(p_value(change, draws, now.images, *trainings))
            beyond = None if limit is None or change >= -limit else change + limit
            over.append(1.0 if beyond is None else p_value(beyond, draws, now.images, *trainings))
            record = ClassChange(
                id=index,
                name=now.name,
                objects=now.objects,
                before=before.ap50,
                after=now.ap50,
                change=class_interval(change, draws, config.level, *trainings),
            )
            found.append((variant.name, record))
    shown: dict[str, list[ClassChange]] = {}
    alpha = 1 - config.level
    for (name, record), p, p_over in zip(found, holm(changed), holm(over), strict=True):
        if p <= alpha:
            told = record.model_copy(update={"over_limit": p_over <= alpha})
            shown.setdefault(name, []).append(told)
    return {
        name: tuple(sorted(changes, key=lambda c: c.change.estimate))
        for name, changes in shown.items()
    }


def class_interval(
    estimate: float, draws: Array, level: float, *trainings: Sequence[float]
) -> Interval:
    """The interval over images, and over trainings where there are several."""
    if not any(trainings):
        return interval(estimate, draws, level)
    return over_trainings(of_draws(estimate, draws, len(draws)), *trainings).interval(level)


def p_value(change: float, draws: Array, images: float, *trainings: Sequence[float]) -> float:
    """Two-sided p-value of no change, by the spread of its draws over at least 1 image.

    And by that of ``trainings``, where a variant has several.
    """
    if images == 1:
        return 1.0
    over_images = Location(change, float(np.nanstd(draws)), images - 1, 0)
    by_draws = over_trainings(over_images, *trainings).p_value()
    by_sign: float = 2.0 ** (1 - images)
    return max(by_draws, by_sign)
