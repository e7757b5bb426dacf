"""Run folders made of valid records and synthetic measurements, ranked by the real ranking.

The networks' counts and milliseconds are those of a yolov8n with 7 classes and of its pruned
and naively retrained variants; the samples around them are drawn.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from experiment_kit import bare_experiment

from prunebench.common.records import (
    Accuracy,
    Audit,
    Exported,
    FileRef,
    Grounds,
    LeftAlone,
    Overlap,
    Parity,
    Quantization,
    Structure,
    TrainingSummary,
    Verdict,
)
from prunebench.common.variant_record import Failure, VariantRecord
from prunebench.config.loading import Config
from prunebench.config.sections import LatencyConfig
from prunebench.experiment.measure_and_rank import rank_run
from prunebench.measuring.host.fingerprint import Fingerprint
from prunebench.measuring.latency.log import lines_of
from prunebench.measuring.latency.raw import Disturbed, Noise, Sample
from prunebench.measuring.latency.records import LatencyResult
from prunebench.measuring.map_bootstrap import load_detections, mean_ap
from prunebench.measuring.session import SessionSettings
from prunebench.results.outcome import LATENCY_FILE, RunRanking
from prunebench.results.run_folder import LATENCY_FOLDER, save_variant

CLASSES = ("cat", "dog", "bird", "<script>alert(1)</script>", "car_*x*_", "a|b", "tree")
IMAGES = 60
OBJECTS = 4
FULL, PRUNED = (3_012_213, 3_007_013), (1_908_445, 1_904_197)
LAYERS = tuple(
    f"model.{block}.{part}.conv" for block in range(22) for part in ("cv1", "cv2", "m.0.cv1")
)[:63]
GROUNDS: dict[Verdict, Grounds] = {
    "unpruned": Grounds(kind="stock", classes=7),
    "pruned": Grounds(
        kind="narrower", classes=7, narrower=63, parent_classes=7, parent_parameters=FULL[0]
    ),
    "preserved": Grounds(
        kind="same_widths", classes=7, parent_classes=7, parent_parameters=PRUNED[0]
    ),
    "restored": Grounds(
        kind="widths_back", classes=7, parent_classes=7, parent_parameters=PRUNED[0]
    ),
}
"""What each audit's verdict rests on."""


@dataclass(frozen=True)
class Maker:
    """How a variant of a synthetic run comes out.

    Attributes:
        name: Its name.
        parent: Its parent's name.
        steps: Its chain of steps.
        verdict: The audit's verdict.
        ms: Milliseconds of an inference with one thread.
        found: Share of the objects it finds.
        strategy: Retraining strategy, or ``None``.
        round: Retraining round.
        failure: Why it has no figures, or ``None``.
        width: Channels of its first layers where it is pruned.
    """

    name: str
    parent: str | None
    steps: tuple[str, ...]
    verdict: Verdict
    ms: float
    found: float
    strategy: str | None = None
    round: int = 0
    failure: Failure | None = None
    width: int = 8


STOLEN = Disturbed(kind="stolen", hit=3, runs=16, worst=0.08, limit=0.01)
"""A disturbance of the host."""

QUANTIZED = "quantize to int8"
LOADED = ("load checkpoint",)
CUT = (*LOADED, "prune")


def retrained(strategy: str, number: int, verdict: Verdict, ms: float, found: float) -> Maker:
    parent = "pruned" if number == 1 else f"{strategy}-{number - 1}"
    steps = (*CUT, *(f"retrain {strategy} round {n}" for n in range(1, number + 1)))
    name = f"{strategy}-{number}"
    return Maker(name, parent, steps, verdict, ms, found, strategy, number)


MIXED = (
    Maker("baseline", None, LOADED, "unpruned", 13.15, 0.86),
    Maker("pruned", "baseline", CUT, "pruned", 9.49, 0.55),
    retrained("standard", 1, "restored", 13.15, 0.75),
    retrained("standard", 2, "restored", 13.15, 0.78),
    retrained("preserving", 1, "preserved", 9.49, 0.85),
    Maker(
        "preserving-2",
        "preserving-1",
        (*CUT, "retrain preserving round 1", "retrain preserving round 2"),
        "preserved",
        9.49,
        0.85,
        "preserving",
        2,
        Failure(step="export", reason="parity: boxes differ by 3.1 px <b>here</b>"),
    ),
)


CONTROLLED = (
    *MIXED[:2],
    Maker("baseline-int8", "baseline", (*LOADED, QUANTIZED), "unpruned", 5.0, 0.86),
)
"""A control that is faster and more accurate than the pruned variant."""


def many(count: int) -> tuple[Maker, ...]:
    """A baseline and ``count - 1`` pruned variants, each slower and more accurate than the last."""
    cut = (
        Maker(
            f"pruned-{n}",
            "baseline",
            CUT,
            "pruned",
            5 + 8 * n / count,
            0.4 + 0.45 * n / count,
            width=100 + n,
        )
        for n in range(1, count)
    )
    return (MIXED[0], *cut)


def make_run(
    folder: Path,
    makers: tuple[Maker, ...] = MIXED,
    *,
    threads: tuple[int, ...] = (1, 2),
    rounds: int = 8,
    noise: tuple[Noise, ...] = (),
    realtime_fps: float = 20.0,
    frames: int = 10,
    paced: bool = True,
    controls: tuple[str, ...] = (),
    masks: Overlap | None = None,
    limits: Mapping[str, float] | None = None,
) -> RunRanking:
    """Write a run folder as a finished run leaves it, and return its outcome.

    With ``masks`` it is one of a segmentation model, ranked by that metric.
    """
    config = Config.model_validate(
        {
            "model": "best.pt",
            "data": "data.yaml",
            "controls": controls,
            "latency": {"threads": threads, "rounds_min": max(3, rounds), "rounds_max": 40},
            "ranking": {
                "realtime_fps": realtime_fps,
                "bootstrap": 200,
                "metric": masks or "box",
                **(limits or {}),
            },
        }
    )
    folder.mkdir(parents=True)
    values = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    (folder / "config.yaml").write_text(values)
    environment = {"python": "3.11.9", "platform": "Linux", "versions": {"torch": "2.14.1"}}
    (folder / "environment.json").write_text(json.dumps(environment))
    variants = [_variant(folder, maker, masks is not None) for maker in makers]
    for variant in variants:
        save_variant(folder, variant)
    latency = made_up_latency(folder, makers, config, threads, rounds, noise, frames)
    (folder / LATENCY_FOLDER / LATENCY_FILE).write_text(latency.model_dump_json())
    return rank_run(bare_experiment(config, folder), variants, latency)


def _variant(folder: Path, maker: Maker, masks: bool) -> VariantRecord:
    home = folder / "variants" / maker.name
    home.mkdir(parents=True)
    full = maker.verdict in ("unpruned", "restored")
    parameters, fused = FULL if full else PRUNED
    widths = {layer: (16 if full else maker.width) * (1 + i // 8) for i, layer in enumerate(LAYERS)}
    structure = Structure(
        task="segment" if masks else "detect",
        names=dict(enumerate(CLASSES)),
        parameters=parameters,
        parameters_fused=fused,
        macs=611_000_000 if full else 351_000_000,
        macs_imgsz=(192, 320),
        widths=widths,
        fused=False,
        stock="yolov8n, 7 classes" if full else None,
    )
    audit = Audit(
        structure=structure,
        verdict=maker.verdict,
        grounds=GROUNDS[maker.verdict],
        kept_share=parameters / FULL[0],
        left_alone={"model.22.dfl": LeftAlone(reason="untraced")}
        if maker.verdict == "pruned"
        else {},
    )
    training = None
    if maker.strategy is not None:
        training = _training(folder, home, maker)
    quantization = None
    if maker.steps[-1] == QUANTIZED:
        quantization = Quantization(
            layers=len(LAYERS),
            quantized=len(LAYERS),
            left_float={},
            map50_float=maker.found,
            map50=maker.found,
            activations="u8",
            calibration_images=128,
        )
    record = VariantRecord(
        name=maker.name,
        parent=maker.parent,
        steps=maker.steps,
        checkpoint=_weights(maker, "model.pt", 2 * parameters),
        audit=audit,
        training=training,
        quantization=quantization,
        failure=maker.failure,
    )
    if maker.failure is not None:
        return record
    parity = Parity(
        images=4, max_box_px=0.01, max_score=0.001, box_tolerance_px=0.5, score_tolerance=0.005
    )
    exported = Exported(
        onnx=_weights(maker, "model.onnx", 4 * fused), parity=parity, opset=17, imgsz=(192, 320)
    )
    return record.model_copy(
        update={"exported": exported, "accuracy": _accuracy(folder, home, maker, masks)}
    )


def _weights(maker: Maker, name: str, size: int) -> FileRef:
    """A file the report only names."""
    return FileRef(path=f"variants/{maker.name}/{name}", sha256=f"{size:064x}", bytes=size)


def _training(folder: Path, home: Path, maker: Maker) -> TrainingSummary:
    lines = ["epoch,time,train/box_loss,metrics/mAP50(B),metrics/mAP50-95(B)"]
    for epoch in range(1, 6):
        value = maker.found * epoch / 5
        lines.append(f"{epoch},{12.5 * epoch},{1 / epoch},{value},{value / 2}")
    (home / "curves.csv").write_text("\n".join(lines))
    return TrainingSummary(
        strategy=maker.strategy or "",
        round=maker.round,
        epochs=5,
        minutes=1.2,
        transferred=65 if maker.strategy == "standard" else 355,
        tensors=355,
        curves=FileRef.of(home / "curves.csv", folder),
        resumed=1 if maker.round == 2 else 0,
    )


def _accuracy(folder: Path, home: Path, maker: Maker, masks: bool) -> Accuracy:
    """Detections of objects whose difficulty is the same for every variant.

    The masks of the last class fit no label.
    """
    shared = np.random.default_rng(7)
    own = np.random.default_rng(abs(hash_of(maker.name)))
    count = IMAGES * OBJECTS
    image = np.repeat(np.arange(IMAGES), OBJECTS)
    cls = shared.integers(0, len(CLASSES), count)
    difficulty = shared.random(count)
    hit = difficulty < maker.found + own.normal(0, 0.03, count)
    targets = np.zeros((IMAGES, len(CLASSES)), dtype=np.int64)
    np.add.at(targets, (image, cls), 1)
    extra = own.integers(0, IMAGES, count // 5)
    tp = np.zeros((count + len(extra), 10), dtype=bool)
    tp[:count] = hit[:, None] & (np.arange(10) < 6)
    confidence = np.concatenate((0.5 + 0.5 * own.random(count), 0.6 * own.random(len(extra))))
    classes = np.concatenate((cls, own.integers(0, len(CLASSES), len(extra))))
    path = home / "detections.npz"
    np.savez(
        path,
        image=np.concatenate((image, extra)),
        confidence=confidence,
        cls=classes,
        tp=tp,
        target_counts=targets,
        **({"tp_mask": tp & (classes < len(CLASSES) - 1)[:, None]} if masks else {}),
    )
    map50 = float(mean_ap(load_detections(path), np.ones((1, IMAGES)))[0])
    mask_map50 = None
    if masks:
        mask_map50 = float(mean_ap(load_detections(path, "mask"), np.ones((1, IMAGES)))[0])
    return Accuracy(
        map50=map50,
        map50_95=0.6 * map50,
        per_class=dict.fromkeys(range(len(CLASSES)), map50),
        per_class_50_95=dict.fromkeys(range(len(CLASSES)), 0.6 * map50),
        images=IMAGES,
        instances=count,
        imgsz=(192, 320),
        detections=FileRef.of(path, folder),
        mask_map50=mask_map50,
        mask_map50_95=None if mask_map50 is None else 0.5 * mask_map50,
    )


def hash_of(name: str) -> int:
    """A seed that is the same in every process."""
    return int.from_bytes(name.encode()[-6:], "little")


def made_up_latency(
    folder: Path,
    makers: tuple[Maker, ...],
    config: Config,
    threads: tuple[int, ...],
    rounds: int,
    noise: tuple[Noise, ...],
    frames: int,
) -> LatencyResult:
    """Samples as a measurement leaves them, below ``folder``, and what it says of them."""
    measured = [maker for maker in makers if maker.failure is None]
    rng = np.random.default_rng(3)
    home = folder / LATENCY_FOLDER
    home.mkdir()
    samples = []
    for number in range(rounds):
        for count in threads:
            weather = rng.normal(0, 0.03)
            for position, maker in enumerate(measured):
                factor = np.exp(weather + rng.normal(0, 0.008)) / count**0.8
                samples.append(sample_of(maker, number, position, count, factor, frames, rng))
    path = home / "samples.jsonl"
    path.write_text(lines_of(samples))
    settings: LatencyConfig = config.latency
    return LatencyResult(
        settings=settings,
        realtime_fps=config.ranking.realtime_fps,
        imgsz=(192, 320),
        nc=len(CLASSES),
        seed=0,
        fingerprint=host(settings),
        threads=threads,
        variants={m.name: "0" * 64 for m in measured},
        failures={},
        kind="end_to_end",
        rounds=rounds,
        stopped="rounds",
        pairs=(),
        wall_s=321.0,
        asked_s=250.0,
        load_average=(0.1, 0.1, 0.1),
        sentinel=None,
        noise=noise,
        samples=FileRef.of(path, home),
    )


def sample_of(
    maker: Maker,
    number: int,
    position: int,
    threads: int,
    factor: float,
    frames: int,
    rng: np.random.Generator,
) -> Sample:
    def drawn(ms: float, count: int) -> tuple[float, ...]:
        tail = 1 + 0.02 * rng.standard_exponential(count)
        return tuple((ms * factor * tail).round(4).tolist())

    return Sample(
        round=number,
        position=position,
        variant=maker.name,
        threads=threads,
        started_s=1.7e9 + number,
        process_s=2.0,
        elapsed_s=2.1,
        load_ms=60.0,
        first_ms=2 * maker.ms,
        model_ms=drawn(maker.ms, frames),
        model_slices=(frames,),
        model_wall_s=0.5,
        model_cpu_s=0.5,
        model_preemptions=0,
        letterbox_ms=drawn(0.4, frames),
        inference_ms=drawn(maker.ms, frames),
        nms_ms=drawn(1.1, frames),
        frame_slices=(frames,),
        response_ms=drawn(maker.ms + 3, frames),
        steal_share=0.0,
        other_cores=0.1,
        rss_base_mb=50.0,
        rss_peak_mb=50.0 + 4 * maker.ms,
        session={},
    )


def host(settings: LatencyConfig) -> Fingerprint:
    """A host with a name that is markup."""
    return Fingerprint(
        cpu="Test CPU <i>9000</i>",
        isa=("AVX2", "FMA"),
        physical_cores=2,
        logical_cores=2,
        quota=None,
        governor=None,
        turbo=None,
        max_mhz=None,
        memory_gib=8,
        kernel="Linux 6.1",
        container=True,
        virtual=True,
        python="3.11.9",
        onnxruntime="1.32.0",
        numpy="2.0.0",
        opencv="4.12.0",
        session=SessionSettings.of(settings),
    )
