"""An earlier run's exported variants measured again, and the two runs compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prunebench.experiment import EXPERIMENT_FILE, Experiment, read_experiment
from prunebench.files import place, write_atomically
from prunebench.history import Recorded, RunComparison, Store, compare_runs
from prunebench.records import FileRef, VariantRecord
from prunebench.runs import REBENCHMARK, open_run, read_variants, save_variant

COMPARISON_FILE = "comparison.json"


def open_rebenchmark(source: Path) -> tuple[Experiment, tuple[VariantRecord, ...]]:
    """A new run folder that holds the exported variants of ``source``.

    Raises:
        InputError: ``source`` is no run folder, has no variants, or a file of it has changed.
    """
    earlier = read_experiment(source)
    variants = read_variants(source)
    folder = open_run(earlier.config, source.parent, kind=REBENCHMARK)
    experiment = earlier.model_copy(update={"folder": str(folder), "out": str(source.parent)})
    write_atomically(folder / EXPERIMENT_FILE, experiment.model_dump_json(indent=2))
    for variant in variants:
        for ref in _files_of(variant):
            place(source / ref.path, folder / ref.path)
        save_variant(folder, variant)
    return experiment, variants


def compare_recorded(experiment: Experiment, before: Recorded, after: Recorded) -> RunComparison:
    """Compare two runs of the history and write ``comparison.json`` into the experiment's run.

    The host may have changed between them; what differs is listed.

    Args:
        experiment: The later run.
        before: The earlier run in the experiment's history.
        after: The later one.
    """
    with Store(experiment.history_url) as store:
        comparison = compare_runs(store, str(before.id), str(after.id), across_hosts=True)
    write_atomically(experiment.run_folder / COMPARISON_FILE, comparison.model_dump_json(indent=2))
    return comparison


def _files_of(variant: VariantRecord) -> Sequence[FileRef]:
    found = [variant.checkpoint]
    if variant.exported is not None:
        found.append(variant.exported.onnx)
    if variant.accuracy is not None:
        found.append(variant.accuracy.detections)
    if variant.training is not None:
        found.append(variant.training.curves)
    return [ref for ref in found if ref is not None]
