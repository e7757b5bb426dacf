"""An earlier run's exported variants measured again, and the two measurements compared.

Two measurements of one file lie days apart, so their rounds are not paired. What the host did to
all variants alike is taken out by the sentinel, the reference model measured in every round: what
is compared is the ratio to it, by Welch's t-test on logarithms (Biometrika 34, 1947), corrected
by Holm over the variants.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from scipy import stats

from prunebench.experiment import EXPERIMENT_FILE, Experiment, read_experiment
from prunebench.files import place, write_atomically
from prunebench.latency.records import LatencyResult
from prunebench.latency.samples import read_samples
from prunebench.latency.sentinel import SENTINEL
from prunebench.latency.stopping import round_medians
from prunebench.outcome import read_latency
from prunebench.records import FileRef, Interval, Record, VariantRecord
from prunebench.runs import LATENCY_FOLDER, REBENCHMARK, open_run, read_variants, save_variant
from prunebench.statistics import FEWEST_ROUNDS, Array, holm

COMPARISON_FILE = "comparison.json"


class LatencyChange(Record):
    """How one variant's latency moved between two measurements.

    Attributes:
        variant: Name of the variant.
        threads: ``intra_op_num_threads``.
        percent: Change of the model-only latency, positive where it is slower now.
        p: Two-sided p-value.
        p_corrected: After Holm's correction over the comparison.
        verdict: ``slower`` and ``faster`` only where the change is shown.
        sentence: All of it in words.
    """

    variant: str
    threads: int
    percent: Interval
    p: float
    p_corrected: float
    verdict: Literal["slower", "faster", "no change shown"]
    sentence: str


class Comparison(Record):
    """Two measurements of the same files.

    Attributes:
        before: Name of the earlier run.
        after: Name of the later run.
        host_differences: What differs between the hosts; figures of different hosts are
            compared all the same, but never silently.
        changes: One per variant and thread count both have.
    """

    before: str
    after: str
    host_differences: tuple[str, ...]
    changes: tuple[LatencyChange, ...]


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


def compare_measurements(before: Path, after: Path, *, level: float = 0.95) -> Comparison:
    """Compare the latency of two runs of the same files and write ``comparison.json``.

    Args:
        before: Folder of the earlier run.
        after: Folder of the later run; the comparison is written there.
        level: Confidence level of the family of comparisons.

    Raises:
        InputError: One of the runs has no measurement.
    """
    old, new = read_latency(before), read_latency(after)
    old_ratios, new_ratios = _to_sentinel(before, old), _to_sentinel(after, new)
    tests = []
    for key in new_ratios:
        if key in old_ratios and old.variants.get(key[0]) == new.variants.get(key[0]):
            tests.append((key, *_welch(new_ratios[key], old_ratios[key], level)))
    corrected = holm([p for _, _, p in tests])
    comparison = Comparison(
        before=before.name,
        after=after.name,
        host_differences=_host_differences(old, new),
        changes=tuple(
            _change(key, percent, p, p_corrected, level)
            for (key, percent, p), p_corrected in zip(tests, corrected, strict=True)
        ),
    )
    write_atomically(after / COMPARISON_FILE, comparison.model_dump_json(indent=2))
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


def _to_sentinel(folder: Path, latency: LatencyResult) -> dict[tuple[str, int], Array]:
    """log(variant / sentinel) of every round, by (variant, threads)."""
    samples = read_samples(folder / LATENCY_FOLDER / latency.samples.path)
    medians = round_medians(samples, "model")
    sentinels = {key[1]: rounds for key, rounds in medians.items() if key[0] == SENTINEL}
    (reference,) = sentinels.values()
    ratios = {}
    for (name, threads), rounds in medians.items():
        shared = sorted(rounds.keys() & reference.keys())
        if name != SENTINEL and len(shared) >= FEWEST_ROUNDS:
            ratios[name, threads] = np.log([rounds[r] / reference[r] for r in shared])
    return ratios


def _welch(new: Array, old: Array, level: float) -> tuple[Interval, float]:
    result = stats.ttest_ind(new, old, equal_var=False)
    bounds = result.confidence_interval(level)
    estimate = float(new.mean() - old.mean())
    percent = Interval(
        estimate=_percent(estimate),
        low=_percent(float(bounds.low)),
        high=_percent(float(bounds.high)),
        level=level,
    )
    return percent, float(result.pvalue)


def _percent(log_ratio: float) -> float:
    return 100 * math.expm1(log_ratio)


def _change(
    key: tuple[str, int], percent: Interval, p: float, p_corrected: float, level: float
) -> LatencyChange:
    name, threads = key
    shown = p_corrected <= 1 - level
    figures = f"{percent.estimate:+.1f} % [{percent.low:+.1f}, {percent.high:+.1f}]"
    if not shown:
        verdict, text = "no change shown", f"no change of {name} is shown ({figures})"
    elif percent.estimate > 0:
        verdict, text = "slower", f"{name} is slower than before by {figures}"
    else:
        verdict, text = "faster", f"{name} is faster than before by {figures}"
    return LatencyChange(
        variant=name,
        threads=threads,
        percent=percent,
        p=p,
        p_corrected=p_corrected,
        verdict=verdict,
        sentence=f"{text}, {threads} thread(s), against the reference model of each run.",
    )


def _host_differences(old: LatencyResult, new: LatencyResult) -> tuple[str, ...]:
    before = old.fingerprint.model_dump(mode="json")
    after = new.fingerprint.model_dump(mode="json")
    return tuple(
        f"{name}: {before.get(name)} before, {after[name]} now"
        for name in after
        if before.get(name) != after[name]
    )
