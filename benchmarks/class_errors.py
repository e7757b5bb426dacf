"""Simulate how often single classes are told apart, with known truth.

    python benchmarks/class_errors.py [--repetitions 400]

A baseline and variants of the same quality look at the same images, whose objects are hard or easy
for all of them alike. Classes are as unlike as in real data, the next one always rarer, and objects
of a class come in clusters. Any class that is shown to have changed is a false alarm, and at most
5 % of the runs may have one; beside them stand those of a test by the bootstrap's draws alone. The
variants differ as retrained ones do, or are near twins, as in INT8. Then one variant misses half of
what it found in one class, the 1st to 4th most frequent: how often that is shown.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import special

from prunebench.common.statistics import Array, Location, holm
from prunebench.config.ranking import RankingConfig
from prunebench.measuring.map_bootstrap import Detections, Resamples
from prunebench.results.ranking.classes import class_changes, class_figures
from prunebench.results.ranking.measured import MeasuredVariant

SETTINGS = ((20, 3, 1), (20, 7, 5), (60, 20, 5), (100, 7, 1), (200, 40, 3), (500, 147, 5))
"""Images, classes, variants."""

OBJECTS = 4.0  # Objects in an image, on average.
CLUSTERING = 0.4  # Shape of the gamma distribution of a class's objects by image; 1: geometric.
SKILL = 1.0  # Log odds of finding a typical object.
RESAMPLES = 500


def labelled(rng: np.random.Generator, images: int, classes: int) -> Array:
    """Objects of each class in each image, (images, classes)."""
    frequency = 1 / np.arange(1, classes + 1)
    mean = OBJECTS * frequency / frequency.sum()
    rates = rng.gamma(CLUSTERING, mean / CLUSTERING, (images, classes))
    return rng.poisson(rates).astype(np.float64)


def detected(
    rng: np.random.Generator, targets: Array, hard: Array, skill: Array, own: float = 1.0
) -> Detections:
    """What a detector finds of objects as ``hard`` as given, with ``skill`` by class.

    ``own`` is the spread of what is hard for this detector alone.
    """
    image, cls = np.nonzero(targets)
    repeats = targets[image, cls].astype(int)
    image, cls = np.repeat(image, repeats), np.repeat(cls, repeats)
    logit = skill[cls] - hard + rng.normal(0, own, len(hard))
    found = rng.random(len(hard)) < special.expit(logit)
    false = rng.poisson(0.5, targets.shape)
    false_image, false_cls = np.nonzero(false)
    confidence = np.concatenate(
        (special.expit(logit[found]), special.expit(rng.normal(-1.5, 1, len(false_image))))
    )
    hits = np.repeat([True, False], [int(found.sum()), len(false_image)])
    return Detections(
        image=np.concatenate((image[found], false_image)),
        confidence=confidence,
        cls=np.concatenate((cls[found], false_cls)),
        tp=np.repeat(hits[:, None], 10, axis=1),
        target_counts=targets.astype(np.int64),
    )


def measured(name: str, detections: Detections, resamples: Resamples) -> MeasuredVariant:
    """A variant whose classes can be compared."""
    scores = resamples.scores(detections)
    return MeasuredVariant(
        name=name,
        parent=None if name == "baseline" else "baseline",
        size_mb=1.0,
        map50=scores.map50,
        map50_draws=scores.draws,
        images=detections.images,
        latency_ms={},
        end_to_end_ms={},
        classes=class_figures(detections.target_counts, scores, {}),
    )


def compared(
    rng: np.random.Generator, images: int, skills: Sequence[Array], own: float = 1.0
) -> list[MeasuredVariant]:
    """The baseline and variants with these skills on the same images."""
    targets = labelled(rng, images, len(skills[0]))
    per_image = rng.normal(0, 1, images)
    repeats = targets.astype(int).sum(axis=1)
    hard = np.repeat(per_image, repeats) + rng.normal(0, 2, int(repeats.sum()))
    resamples = Resamples(targets.astype(np.int64), RESAMPLES, int(rng.integers(2**31)))
    names = ["baseline", *(f"variant {number}" for number in range(1, len(skills)))]
    return [
        measured(name, detected(rng, targets, hard, skill, own), resamples)
        for name, skill in zip(names, skills, strict=True)
    ]


def false_alarms(
    rng: np.random.Generator, images: int, classes: int, variants: int, own: float
) -> tuple[bool, bool]:
    """Whether any class of equal variants is shown to have changed; and by the draws alone."""
    baseline, *others = compared(rng, images, [np.full(classes, SKILL)] * (1 + variants), own)
    p = []
    for variant in others:
        for index, now in variant.classes.items():
            before = baseline.classes[index]
            error = float(np.nanstd(now.draws - before.draws))
            p.append(Location(now.ap50 - before.ap50, error, images - 1, 0).p_value())
    settings = RankingConfig()
    shown = bool(class_changes([baseline, *others], settings))
    return shown, min(holm(p)) <= 1 - settings.level


def found(rng: np.random.Generator, images: int, classes: int, variants: int, lost: int) -> bool:
    """Whether the class that one variant finds half of is shown to have lost."""
    skills = [np.full(classes, SKILL) for _ in range(1 + variants)]
    skills[-1][lost] -= 2.5
    changes = class_changes(compared(rng, images, skills), RankingConfig())
    return any(change.id == lost for change in changes.get(f"variant {variants}", ()))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=400)
    parser.add_argument("--settings", type=int, nargs="*", default=range(len(SETTINGS)))
    repetitions = parser.parse_args().repetitions
    rng = np.random.default_rng(0)
    titles = ("false alarm", "draws alone", "twins", "draws alone", "1st", "2nd", "3rd", "4th")
    table = Table("images", "classes", "variants", *titles)
    for setting in (SETTINGS[i] for i in parser.parse_args().settings):
        images, classes, variants = setting
        alarms = [
            share
            for own in (1.0, 0.1)
            for share in np.mean(
                [false_alarms(rng, *setting, own) for _ in range(repetitions)], axis=0
            )
        ]
        power = [
            sum(found(rng, *setting, lost) for _ in range(repetitions // 4)) / (repetitions // 4)
            for lost in range(min(4, classes))
        ]
        table.add_row(
            *map(str, (images, classes, variants)), *(f"{share:.1%}" for share in (*alarms, *power))
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
