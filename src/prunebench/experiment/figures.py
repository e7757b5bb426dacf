"""From a run's records and raw files to what a ranking starts from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from prunebench.common.errors import StepError
from prunebench.common.records import Accuracy, Overlap, Structure
from prunebench.common.statistics import Location, of_draws, over_trainings
from prunebench.common.variant_record import VariantRecord
from prunebench.config.loading import Config
from prunebench.experiment.inputs import Experiment
from prunebench.measuring.latency.records import LatencyResult
from prunebench.measuring.latency.samples import read_samples
from prunebench.measuring.latency.stopping import cpu_rounds, round_medians
from prunebench.measuring.latency.summary import summarise
from prunebench.measuring.map_bootstrap import Resamples, Scores, load_detections, mean_of
from prunebench.results.ranking.classes import class_figures
from prunebench.results.ranking.measured import MeasuredElsewhere, MeasuredVariant
from prunebench.results.run_folder import LATENCY_FOLDER


def measured_from(
    experiment: Experiment,
    variants: Sequence[VariantRecord],
    latency: LatencyResult,
    *,
    within: str = LATENCY_FOLDER,
    rounds: Collection[int] | None = None,
) -> list[MeasuredVariant]:
    """Gather every variant that has an accuracy and an ONNX file, and did not fail.

    ``latency`` lies in the folder ``within`` of the run; of some ``rounds`` alone there is no
    verdict about paced frames.

    StepError where two variants were evaluated on different images, or the ranking's metric is of
    what a variant does not predict.
    """
    config, root = experiment.config, experiment.run_folder
    folder = root / within
    samples = read_samples(folder / latency.samples.path)
    if rounds is not None:
        samples = [sample for sample in samples if sample.round in rounds]
    model, frames = round_medians(samples, "model"), round_medians(samples, latency.kind)
    cpu = cpu_rounds(samples)
    rss: dict[tuple[str, int], dict[int, float]] = {}
    for sample in samples:
        rss.setdefault((sample.variant, sample.threads), {})[sample.round] = sample.rss_peak_mb
    paced = {
        (summary.variant, summary.threads): summary.paced
        for summary in summarise(latency, folder, level=config.ranking.level)
        if summary.paced is not None and rounds is None
    }
    planned = {variant.name: variant for variant in experiment.variants}
    resamples: Resamples | None = None
    measured: list[MeasuredVariant] = []
    for variant in variants:
        if variant.failure or variant.accuracy is None or variant.exported is None:
            continue
        each = [one.accuracy for one in variant.trainings or (variant,) if one.accuracy]
        counts = [load_detections(root / one.detections.path).target_counts for one in each]
        if resamples is None:
            first = counts[0]
            resamples = Resamples(first, config.ranking.bootstrap, config.seed)
        if not all(np.array_equal(labelled, first) for labelled in counts):
            reason = "it was evaluated on other images or labels than the first variant"
            raise StepError("rank", reason, variant=variant.name)
        overlaps = [*each[0].by_overlap]
        if config.ranking.metric not in overlaps:
            reason = f"ranking.metric is {config.ranking.metric}, which it does not predict"
            raise StepError("rank", reason, variant=variant.name)
        scored = {o: _scored(root, each, o, resamples) for o in overlaps}
        ranks = scored[config.ranking.metric]
        plan, audit = planned.get(variant.name), variant.audit
        keys = [(variant.name, count) for count in latency.threads]
        measured.append(
            MeasuredVariant(
                name=variant.name,
                parent=variant.parent,
                strategy=None if plan is None else plan.strategy,
                control=None if plan is None else plan.control,
                beside=None if plan is None else plan.beside,
                epochs=0 if plan is None else plan.epochs,
                quantized=variant.quantization is not None,
                parameters=None if audit is None else audit.structure.parameters,
                verdict=None if audit is None else audit.verdict,
                grounds=None if audit is None else audit.grounds,
                network=None if audit is None else network_key(audit.structure, variant),
                size_mb=_size_mb(variant, config),
                map50=ranks.map50,
                map50_draws=ranks.mean.draws,
                images=len(first),
                trainings=ranks.trainings,
                latency_ms={key[1]: model.get(key, {}) for key in keys},
                end_to_end_ms={key[1]: frames.get(key, {}) for key in keys},
                cpu_ms={key[1]: cpu.get(key, {}) for key in keys},
                rss_mb={key[1]: rss.get(key, {}) for key in keys},
                realtime={key[1]: paced[key].realtime for key in keys if key in paced},
                few_frames={
                    key[1]: paced[key].frames
                    for key in keys
                    if key in paced and paced[key].p95_ms is None
                },
                failure=latency.failures.get(variant.name),
                both={o: one.location(len(first)) for o, one in scored.items()}
                if len(scored) == 2
                else {},
                classes=class_figures(
                    first,
                    ranks.mean,
                    {} if audit is None else audit.structure.names,
                    ranks.scores,
                ),
            )
        )
    return measured


def in_runtimes_from(
    experiment: Experiment,
    elsewhere: Sequence[VariantRecord],
    latency: LatencyResult,
    *,
    within: str = LATENCY_FOLDER,
) -> list[MeasuredElsewhere]:
    """As ``measured_from``, of variants in other runtimes that have an accuracy."""
    records = {v.name: v for v in elsewhere}
    samples = read_samples(experiment.run_folder / within / latency.samples.path)
    found = []
    for measured in measured_from(experiment, elsewhere, latency, within=within):
        record = records[measured.name]
        own = [sample for sample in samples if sample.variant == measured.name]
        if record.runtime is None or record.exported is None or record.exported.parity is None:
            continue
        said = own[-1].session.get("precision") if own else None
        found.append(
            MeasuredElsewhere(
                # Other kernels: that it is the same network says nothing about its speed.
                measured=replace(measured, network=None),
                # A device may compute in another precision than this host.
                runtime=record.runtime.model_copy(update={"precision": said})
                if said
                else record.runtime,
                parity=record.exported.parity,
                cpu_share={
                    threads: float(
                        np.median(
                            [s.model_cpu_s / s.model_wall_s for s in own if s.threads == threads]
                            or [0.0]
                        )
                    )
                    for threads in latency.threads
                },
            )
        )
    return found


@dataclass(frozen=True)
class _Scored:
    """A variant's mAP50: the mean of its ``trainings``, where it has several, and their scores."""

    map50: float
    mean: Scores
    trainings: tuple[float, ...]
    scores: tuple[Scores, ...]

    def location(self, images: int) -> Location:
        """The mAP50, over images and trainings."""
        found = of_draws(self.map50, self.mean.draws, images)
        return over_trainings(found, self.trainings)


def _scored(
    root: Path, each: Sequence[Accuracy], overlap: Overlap, resamples: Resamples
) -> _Scored:
    found = tuple(
        resamples.scores(load_detections(root / one.detections.path, overlap)) for one in each
    )
    scores = [one.by_overlap[overlap] for one in each]
    several = len(each) > 1
    return _Scored(
        map50=float(np.mean(scores)),
        mean=mean_of(found),
        trainings=tuple(scores) if several else (),
        scores=found if several else (),
    )


def network_key(structure: Structure, variant: VariantRecord) -> str:
    """Identity of the compute graph, quantized layers included, whatever the weights."""
    quantization, exported = variant.quantization, variant.exported
    parts = {
        "task": structure.task,
        "classes": len(structure.names),
        "widths": structure.widths,
        "activations": structure.activations,
        "imgsz": structure.macs_imgsz,
        **({} if exported is None or exported.head is None else {"head": exported.head}),
        "left_float": None if quantization is None else sorted(quantization.left_float),
    }
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _size_mb(variant: VariantRecord, config: Config) -> float:
    onnx = None if variant.exported is None else variant.exported.onnx
    own = config.ranking.size_of == "onnx" or variant.runtime is not None
    file = onnx if own else variant.checkpoint
    if file is None:
        raise StepError("rank", f"there is no {config.ranking.size_of} file", variant=variant.name)
    return file.bytes / 1e6
