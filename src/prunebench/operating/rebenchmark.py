"""An earlier run's exported variants measured again, and the two runs compared."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path

from prunebench.common.errors import InputError
from prunebench.common.files import place, write_atomically
from prunebench.common.records import Record
from prunebench.common.variant_record import VariantRecord
from prunebench.experiment.inputs import EXPERIMENT_FILE, Experiment, read_experiment
from prunebench.measuring.map_bootstrap import Resamples, load_detections
from prunebench.operating.registry import read_registry
from prunebench.results.history.compare import RunComparison, compare_runs
from prunebench.results.history.recording import Recorded
from prunebench.results.history.store import Store
from prunebench.results.run_folder import (
    REBENCHMARK,
    RUNTIMES_FOLDER,
    VARIANT_FILE,
    fitting_together,
    latest_run,
    open_run,
    read_elsewhere,
    read_variants,
    save_variant,
)

COMPARISON_FILE = "comparison.json"


class Source(Record):
    """Absolute path of an earlier run, and the variants that are measured again (``None``: all)."""

    folder: str
    variants: tuple[str, ...] | None = None


def find_sources(
    run: str | None, out: Path, registry: Path | None
) -> tuple[tuple[Source, ...], tuple[str, ...]]:
    """What is to be measured again, and what cannot be, in sentences.

    That is every variant of ``run``, else what the ``registry`` holds, else the newest finished run
    below ``out``; ``InputError`` where there is none.
    """
    if run is not None:
        return (Source(folder=str(Path(run).resolve())),), ()
    entries = () if registry is None else read_registry(registry)
    if registry is None or not entries:
        return (Source(folder=str(latest_run(out.expanduser().resolve()))),), ()
    chosen: dict[str, list[str]] = {}
    problems = []
    for entry in entries:
        try:
            entry.subject(registry)
        except InputError as error:
            problems.append(f"{entry.name}: {error}")
        else:
            chosen.setdefault(str(entry.run_folder(registry)), []).append(entry.variant)
    sources = [Source(folder=folder, variants=tuple(names)) for folder, names in chosen.items()]
    return tuple(sources), tuple(problems)


def read_source(
    source: Path, names: Collection[str] | None = None
) -> tuple[Experiment, tuple[VariantRecord, ...]]:
    """An earlier run's experiment and its variants, or those of ``names``.

    Raises:
        InputError: ``source`` is not a run folder, has no variants, or a file it needs is gone or
            has changed.
    """
    earlier = read_experiment(source)
    _ = earlier.latency_images
    variants = tuple(v for v in read_variants(source) if names is None or v.name in names)
    for variant in variants:
        if variant.exported is not None and not variant.exported.onnx.holds(source):
            what, file = "the ONNX file is gone, or not the run's", variant.exported.onnx.path
            raise InputError(what, where=source / file, fix="put it back, or run again")
        if variant.accuracy is not None and variant.accuracy.detections.holds(source):
            with fitting_together(source):  # They are ranked by, once all is measured.
                found = load_detections(source / variant.accuracy.detections.path)
                Resamples(found.target_counts, 1, 0).scores(found)
    return earlier, variants


def open_rebenchmark(
    source: Path, names: Collection[str] | None = None, home: Path | None = None
) -> tuple[Experiment, tuple[VariantRecord, ...]]:
    """A new run folder that holds the exported variants of ``source``, or those of ``names``.

    It is made in ``home``, beside ``source`` by default. The errors are those of ``read_source``.
    """
    earlier, variants = read_source(source, names)
    kind = REBENCHMARK
    if names is not None:
        # An interrupted run is continued only by one of the same variants.
        kind = f"{hashlib.sha256(' '.join(sorted(names)).encode()).hexdigest()[:8]}-{kind}"
    folder = open_run(earlier.config, home or source.parent, kind=kind)
    experiment = earlier.model_copy(update={"folder": str(folder), "out": str(source.parent)})
    write_atomically(folder / EXPERIMENT_FILE, experiment.model_dump_json(indent=2))
    for variant in variants:
        for ref in variant.files:
            if ref.holds(source):
                place(source / ref.path, folder / ref.path)
        save_variant(folder, variant)
    if names is None:
        _take_elsewhere(source, folder)
    return experiment, variants


def _take_elsewhere(source: Path, folder: Path) -> None:
    """The variants in other runtimes, whose files are all there."""
    for variant in read_elsewhere(source):
        if all(ref.holds(source) for ref in variant.files):
            home = f"{RUNTIMES_FOLDER}/{variant.name}"
            for path in (*(ref.path for ref in variant.files), f"{home}/{VARIANT_FILE}"):
                place(source / path, folder / path)


def compare_recorded(experiment: Experiment, before: Recorded, after: Recorded) -> RunComparison:
    """Compare two runs, on another host or not, and write ``comparison.json`` into the later."""
    with Store(experiment.history_url) as store:
        comparison = compare_runs(store, str(before.id), str(after.id), across_hosts=True)
    write_atomically(experiment.run_folder / COMPARISON_FILE, comparison.model_dump_json(indent=2))
    return comparison
