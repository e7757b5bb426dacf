"""A variant of several trainings: which of their files is shipped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from prunebench.common.files import place
from prunebench.common.records import FileRef, Overlap
from prunebench.common.variant_record import VariantRecord
from prunebench.experiment.inputs import Experiment
from prunebench.experiment.plan import PlannedVariant
from prunebench.experiment.run_step import keep, variant_file
from prunebench.results.messages.catalogue import Messages
from prunebench.results.run_folder import save_variant
from prunebench.steps.events import Emit, Finished


def ship_variant(
    experiment: Experiment,
    planned: PlannedVariant,
    trained: Sequence[VariantRecord],
    announce: Emit,
) -> VariantRecord:
    """Make the files of the median one of evaluated trainings, by their seeds, the variant's own.

    A variant that was left out has none.
    """
    if trained[0].not_trained is not None:
        return keep(experiment, planned, judgement=trained[0].judgement)
    metric = experiment.config.ranking.metric
    chosen = median_of(trained, metric)
    record = chosen.model_copy(
        update={
            **_own_files(experiment, planned, chosen),
            "seed": None,
            "shipped": chosen.seed,
            "trainings": tuple(trained),
        }
    )
    save_variant(experiment.run_folder, record)
    mean = fmean(one.accuracy.by_overlap[metric] for one in trained if one.accuracy is not None)
    values = {"seed": chosen.seed, "n": len(trained), "mean": f"{mean:.3f}"}
    told = Messages(metric=metric)("shipped.chosen", **values)
    announce(Finished(variant=planned.name, step="accuracy", found=told))
    return record


def median_of(trained: Sequence[VariantRecord], metric: Overlap = "box") -> VariantRecord:
    """The training whose validation score is the median.

    Of an even number it is the lower one of the two in the middle, of equal scores the first seed.
    Where a strategy tells no validation score, the evaluated mAP50 stands for all of them.
    """
    scores = [None if one.training is None else one.training.validation for one in trained]
    if None in scores:
        found = [{} if one.accuracy is None else one.accuracy.by_overlap for one in trained]
        scores = [each.get(metric) for each in found]
    known = [score or 0.0 for score in scores]
    return trained[known.index(sorted(known)[(len(known) - 1) // 2])]


def _own_files(
    experiment: Experiment, planned: PlannedVariant, chosen: VariantRecord
) -> dict[str, Any]:
    """The files of a training, put into the variant's own folder, as they are in its record."""

    def own(ref: FileRef) -> FileRef:
        target = variant_file(experiment, planned, Path(ref.path).name)
        place(experiment.run_folder / ref.path, target)
        path = target.relative_to(experiment.run_folder).as_posix()
        return ref.model_copy(update={"path": path})

    files: dict[str, Any] = {"checkpoint": chosen.checkpoint and own(chosen.checkpoint)}
    named = {"training": "curves", "exported": "onnx", "accuracy": "detections"}
    for field, name in named.items():
        known = getattr(chosen, field)
        ref = getattr(known, name, None)
        if ref is not None:
            files[field] = known.model_copy(update={name: own(ref)})
    return files
