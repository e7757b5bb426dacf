"""Every class's AP50 against its reference's; what is shown of it is the ranking's to say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prunebench.common.records import Interval
from prunebench.measuring.map_bootstrap import Resamples, load_detections, mean_of
from prunebench.results.ranking.classes import class_figures, class_interval
from prunebench.results.ranking.measured import ClassFigures
from prunebench.results.report.stored import ReportedRun


@dataclass(frozen=True)
class ClassChange:
    """A class of one variant against its reference's, in AP50 (0..1).

    Attributes:
        against: The unpruned variant it is compared with.
        id: Of the class; two classes may have one name.
        name: What it is called here, and no other class is.
        objects: Labelled objects of it.
        change: ``after - before`` with its interval.
        shown: Whether there is a change, corrected for every class of every variant.
    """

    variant: str
    against: str
    id: int
    name: str
    objects: int
    before: Interval
    after: Interval
    change: Interval
    shown: bool


def class_changes(run: ReportedRun) -> tuple[ClassChange, ...]:
    """Every class of every ranked variant that has a reference and its detections."""
    return tuple(_changes(run))


def _changes(run: ReportedRun) -> Iterator[ClassChange]:
    figures, level = _figures(run), run.config.ranking.level
    for row in (row for name in figures for row in run.ranking.rows if row.name == name):
        against = row.classes_against
        if against is None or against not in figures:
            continue
        shown = {change.id for change in row.class_changes}
        for index, after in figures[row.name].items():
            before = figures[against][index]
            yield ClassChange(
                variant=row.name,
                against=against,
                id=index,
                name=after.name,
                objects=after.objects,
                before=class_interval(before.ap50, before.draws, level, before.trainings),
                after=class_interval(after.ap50, after.draws, level, after.trainings),
                change=class_interval(
                    after.ap50 - before.ap50,
                    after.draws - before.draws,
                    level,
                    *(after.trainings, before.trainings),
                ),
                shown=index in shown,
            )


def _figures(run: ReportedRun) -> dict[str, Mapping[int, ClassFigures]]:
    """The classes of every variant, with the resamples that ranked."""
    settings = run.config.ranking
    found: dict[str, Mapping[int, ClassFigures]] = {}
    for variant in run.variants:
        paths = [run.detections(one) for one in variant.trainings or (variant,)]
        several = [load_detections(path, settings.metric) for path in paths if path]
        if variant.audit is None or len(several) < len(paths):
            continue
        counts, names = several[0].target_counts, variant.audit.structure.names
        resamples = Resamples(counts, settings.bootstrap, run.config.seed)
        scores = [resamples.scores(detections) for detections in several]
        trainings = scores if variant.trainings else ()
        found[variant.name] = class_figures(counts, mean_of(scores), names, trainings)
    return found
