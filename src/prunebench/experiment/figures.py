"""From a run's records and raw files to what a ranking starts from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence

import numpy as np

from prunebench.common.errors import StepError
from prunebench.common.records import Overlap, Structure, VariantRecord
from prunebench.config.loading import Config
from prunebench.experiment.prepare import Experiment
from prunebench.measuring.latency.records import LatencyResult
from prunebench.measuring.latency.samples import read_samples
from prunebench.measuring.latency.stopping import cpu_rounds, round_medians
from prunebench.measuring.latency.summary import summarise
from prunebench.measuring.map_bootstrap import Detections, Resamples, load_detections
from prunebench.results.ranking.classes import class_figures
from prunebench.results.ranking.measured import MeasuredVariant
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
    masks and a variant predicts none.
    """
    config, root = experiment.config, experiment.run_folder
    folder = root / within
    samples = read_samples(folder / latency.samples.path)
    if rounds is not None:
        samples = [sample for sample in samples if sample.round in rounds]
    model, frames = round_medians(samples, "model"), round_medians(samples, "end_to_end")
    cpu = cpu_rounds(samples)
    rss: dict[tuple[str, int], dict[int, float]] = {}
    for sample in samples:
        rss.setdefault((sample.variant, sample.threads), {})[sample.round] = sample.rss_peak_mb
    realtime = {
        (summary.variant, summary.threads): summary.paced.realtime
        for summary in summarise(latency, folder, level=config.ranking.level)
        if summary.paced is not None and rounds is None
    }
    planned = {variant.name: variant for variant in experiment.variants}
    first: Detections | None = None
    measured: list[MeasuredVariant] = []
    for variant in variants:
        if variant.failure or variant.accuracy is None or variant.exported is None:
            continue
        path = root / variant.accuracy.detections.path
        detections = load_detections(path)
        if first is None:
            first = detections
            counts = first.target_counts
            resamples = Resamples(counts, config.ranking.bootstrap, config.seed)
        if not np.array_equal(detections.target_counts, first.target_counts):
            reason = "it was evaluated on other images or labels than the first variant"
            raise StepError("rank", reason, variant=variant.name)
        plan, audit = planned.get(variant.name), variant.audit
        matches: dict[Overlap, tuple[float, Detections]] = {
            "box": (variant.accuracy.map50, detections)
        }
        if variant.accuracy.mask_map50 is not None:
            matches["mask"] = variant.accuracy.mask_map50, load_detections(path, "mask")
        if config.ranking.metric not in matches:
            reason = "ranking.metric is mask, but it is a detection model and predicts no masks"
            raise StepError("rank", reason, variant=variant.name)
        found = {o: resamples.scores(one) for o, (_, one) in matches.items()}
        scores = {o: (map50, found[o].draws) for o, (map50, _) in matches.items()}
        map50, map50_draws = scores[config.ranking.metric]
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
                map50=map50,
                map50_draws=map50_draws,
                images=detections.images,
                latency_ms={key[1]: model.get(key, {}) for key in keys},
                end_to_end_ms={key[1]: frames.get(key, {}) for key in keys},
                cpu_ms={key[1]: cpu.get(key, {}) for key in keys},
                rss_mb={key[1]: rss.get(key, {}) for key in keys},
                realtime={key[1]: realtime[key] for key in keys if key in realtime},
                failure=latency.failures.get(variant.name),
                both=scores if len(scores) == 2 else {},
                classes=class_figures(
                    detections.target_counts,
                    found[config.ranking.metric],
                    {} if audit is None else audit.structure.names,
                ),
            )
        )
    return measured


def network_key(structure: Structure, variant: VariantRecord) -> str:
    """Identity of the compute graph, quantized layers included, whatever the weights."""
    quantization = variant.quantization
    parts = {
        "task": structure.task,
        "classes": len(structure.names),
        "widths": structure.widths,
        "activations": structure.activations,
        "imgsz": structure.macs_imgsz,
        "left_float": None if quantization is None else sorted(quantization.left_float),
    }
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _size_mb(variant: VariantRecord, config: Config) -> float:
    onnx = None if variant.exported is None else variant.exported.onnx
    file = onnx if config.ranking.size_of == "onnx" else variant.checkpoint
    if file is None:
        raise StepError("rank", f"there is no {config.ranking.size_of} file", variant=variant.name)
    return file.bytes / 1e6
