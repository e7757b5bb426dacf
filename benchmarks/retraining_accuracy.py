"""Which retraining gives the accuracy back? The strategies at one budget, side by side.

    python benchmarks/retraining_accuracy.py [--data scenes] [--seeds 3] [--epochs 2] [--out FOLDER]
    python benchmarks/retraining_accuracy.py --data neontrees --epochs 4

Everything else comes from the configuration (``--config``; by default that of the demo for the
scenes and ``configs/neontrees.yaml`` for neontrees). For each seed the baseline is pruned once with
BatchNorm statistics re-estimated and once without, and each is retrained for the same epochs on the
same images. Accuracy is that of the exported file, as everywhere. The speed is that of the first
seed's files, measured in one interleaved session.

Two intervals are given for mAP50 against the baseline, because they hold different things: over
seeds (Student's t on one difference per seed: another training), and over images (bootstrap of the
mean over seeds, the same images for every variant: other test images).

Finished steps are kept in ``--out``: the same command goes on where it was ended, and more seeds
repeat nothing.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("YOLO_OFFLINE", "true")

import numpy as np
from kit import Claim, host_line, print_claims
from rich.console import Console
from rich.table import Table
from scipy import stats

from prunebench.common.records import Interval
from prunebench.common.sole_user import sole_user
from prunebench.common.statistics import Array, interval, locate, log_ratios
from prunebench.common.variant_record import VariantRecord
from prunebench.config.loading import Config, load_config
from prunebench.experiment.inputs import Experiment, output_folder
from prunebench.experiment.make import evaluate_variant, export_variant, make_variant
from prunebench.experiment.plan import plan_variants
from prunebench.experiment.prepare import prepare
from prunebench.measuring.latency.measure import Target, measure
from prunebench.measuring.latency.samples import read_samples
from prunebench.measuring.latency.stopping import round_medians
from prunebench.measuring.map_bootstrap import Resamples, load_detections
from prunebench.steps.events import Event, line

CONFIGS = Path(__file__).parent.parent / "configs"
CONFIG_OF = {"scenes": "quickstart.yaml", "neontrees": "neontrees.yaml"}
BASELINE, PRUNED = "baseline", "pruned"
WITHOUT_BN = "without BatchNorm re-estimation"


@dataclass(frozen=True)
class Arm:
    """One way of retraining.

    Attributes:
        name: What the table calls it.
        strategy: Name of the strategy.
        settings: What differs from the configuration's settings of it.
        bn_batches: Batches that re-estimate BatchNorm; ``None`` for the configuration's.
    """

    name: str
    strategy: str
    settings: tuple[tuple[str, Any], ...] = ()
    bn_batches: int | None = None


ARMS = (
    Arm("standard", "standard"),
    Arm("preserving", "preserving", (("distill", False),)),
    Arm("preserving, distilled", "preserving", (("distill", True),)),
    Arm(f"preserving, {WITHOUT_BN}", "preserving", (("distill", False),), bn_batches=0),
)


@dataclass(frozen=True)
class Made:
    """A variant that was made and evaluated, and the folder its files are in."""

    record: VariantRecord
    folder: Path

    @property
    def map50(self) -> float:
        """mAP50, 0..1."""
        return 0.0 if self.record.accuracy is None else self.record.accuracy.map50

    def draws(self, resamples: int) -> Array:
        """mAP50 on every resample of the images, the same for every variant."""
        if self.record.accuracy is None:
            sys.exit(f"{self.record.name} has no accuracy")
        found = load_detections(self.folder / self.record.accuracy.detections.path)
        return Resamples(found.target_counts, resamples, seed=0).scores(found).draws


def configuration(options: argparse.Namespace, arm: Arm, seed: int) -> Config:
    """The configuration that makes one arm's variant with one seed."""
    file = options.config or CONFIGS / CONFIG_OF.get(options.data, "quickstart.yaml")
    base = load_config(file, environ={})
    chosen = base.retrain.strategies[arm.strategy].model_dump() | dict(arm.settings)
    values = base.model_dump(mode="json")
    bn_batches = base.prune.bn_batches if arm.bn_batches is None else arm.bn_batches
    values["prune"] |= {"target": options.target, "bn_batches": bn_batches}
    values["retrain"] |= {
        "rounds": 1,
        "epochs": options.epochs,
        "control": False,
        "strategies": {arm.strategy: chosen},
    }
    values |= {"data": options.data, "seed": seed, "out": str(options.out)}
    if options.model:
        values["model"] = options.model
    return Config.model_validate(values)


def make(config: Config, arm: Arm) -> dict[str, Made]:
    """The baseline, the pruned network and the arm's variant, made and evaluated."""
    made: dict[str, Made] = {}
    with sole_user(output_folder(config)):
        experiment = prepare(config)
        for planned in plan_variants(config):
            parent = None if planned.parent is None else made[planned.parent].record
            baseline = made[BASELINE].record if made else None
            record = make_variant(experiment, planned, parent, baseline, tell)
            record = evaluate_variant(experiment, export_variant(experiment, record, tell), tell)
            made[planned.name] = Made(record, experiment.run_folder)
    names = {
        BASELINE: BASELINE,
        PRUNED: f"{PRUNED}, {WITHOUT_BN}" if arm.bn_batches == 0 else PRUNED,
    }
    return {names.get(name, arm.name): variant for name, variant in made.items()}


def tell(event: Event) -> None:
    """Print finished epochs and steps on standard error."""
    if event.kind in ("epoch", "finished"):
        print(line(event), file=sys.stderr, flush=True)


def frame_times(
    config: Config, made: dict[str, Made], images: Sequence[str]
) -> dict[str, dict[int, float]]:
    """End-to-end milliseconds of each file by round, measured interleaved."""
    targets = []
    for name, variant in made.items():
        if variant.record.exported is not None:
            onnx = variant.record.exported.onnx
            targets.append(Target(name, variant.folder / onnx.path, onnx.sha256))
    folder = output_folder(config) / "speed"
    result = measure(
        targets,
        [Path(image) for image in images[: config.latency.images]],
        config.latency.model_copy(update={"threads": (1,), "paced": False}),
        realtime_fps=config.ranking.realtime_fps,
        imgsz=config.image.hw,
        nc=len(class_names(made)),
        seed=0,
        folder=folder,
        who="the accuracy benchmark",
    )
    medians = round_medians(read_samples(folder / result.samples.path), "end_to_end")
    return {name: medians[name, 1] for name in made}


def times_as_fast(name: str, reference: str, by_name: dict[str, dict[int, float]]) -> Interval:
    """How many times as fast as the reference, paired by round."""
    location = locate(log_ratios(by_name[reference], by_name[name]))
    half = location.half_width(0.95)
    low, ratio, high = (math.exp(location.centre + side * half) for side in (-1, 0, 1))
    return Interval(estimate=ratio, low=low, high=high)


def class_names(made: dict[str, Made]) -> dict[int, str]:
    """The classes of the networks."""
    audit = made[BASELINE].record.audit
    return {} if audit is None else audit.structure.names


def over_seeds(values: Sequence[float]) -> Interval | None:
    """Mean and its Student's t interval, ``None`` for a single seed."""
    if len(values) < 2:
        return None
    mean, error = float(np.mean(values)), float(stats.sem(values))
    half = float(stats.t.ppf(0.975, len(values) - 1)) * error
    return Interval(estimate=mean, low=mean - half, high=mean + half)


def over_images(
    variants: Sequence[Made], references: Sequence[Made], resamples: int
) -> tuple[float, Interval]:
    """Mean difference in mAP50 over the seeds, with its interval over images."""
    estimate = float(
        np.mean([v.map50 - r.map50 for v, r in zip(variants, references, strict=True)])
    )
    draws = np.mean([v.draws(resamples) for v in variants], axis=0) - np.mean(
        [r.draws(resamples) for r in references], axis=0
    )
    return estimate, interval(estimate, draws, 0.95)


def points(found: Interval | None) -> str:
    """Interval ends in points of mAP50."""
    return "-" if found is None else f"[{100 * found.low:+.1f}, {100 * found.high:+.1f}]"


def ratio_text(ratio: Interval) -> str:
    """ "1.51 [1.47, 1.55]"."""
    return f"{ratio.estimate:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"


def main() -> int:
    """Make every arm with every seed, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="scenes", help="scenes, neontrees, or a data YAML")
    parser.add_argument("--config", type=Path, default=None, help="configuration to start from")
    parser.add_argument("--model", default=None, help="checkpoint or network description")
    parser.add_argument("--target", default="1.5x", help="what pruning is to reach")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2, help="the same for every strategy")
    parser.add_argument("--out", type=Path, default=Path("runs/retraining-accuracy"))
    options = parser.parse_args()
    by_seed: list[dict[str, Made]] = []
    for seed in range(options.seeds):
        made: dict[str, Made] = {}
        for arm in ARMS:
            print(f"seed {seed}, {arm.name}", file=sys.stderr)
            made |= make(configuration(options, arm, seed), arm)
        by_seed.append(made)
    first = configuration(options, ARMS[0], 0)
    with sole_user(output_folder(first)):
        experiment: Experiment = prepare(first)
    frames = frame_times(first, by_seed[0], experiment.images)

    resamples = first.ranking.bootstrap
    table = Table(
        *("variant", "mAP50", "against baseline", "over seeds", "over images", "times as fast"),
        *("parameters", "minutes"),
        title=f"{options.data}, {options.target}, {options.epochs} epochs, {options.seeds} seeds; "
        f"{host_line()}",
        title_justify="left",
    )
    changes: dict[str, float] = {}
    for name in by_seed[0]:
        variants = [made[name] for made in by_seed]
        references = [made[BASELINE] for made in by_seed]
        changes[name], images = over_images(variants, references, resamples)
        seeds = [v.map50 - r.map50 for v, r in zip(variants, references, strict=True)]
        fast = times_as_fast(name, BASELINE, frames)
        audit, training = variants[0].record.audit, variants[0].record.training
        table.add_row(
            name,
            f"{np.mean([variant.map50 for variant in variants]):.3f}",
            f"{100 * changes[name]:+.1f}",
            points(over_seeds(seeds)),
            points(images),
            ratio_text(fast),
            "" if audit is None else f"{audit.structure.parameters:,}",
            "" if training is None else f"{training.minutes:.1f}",
        )
    console = Console(width=150)
    console.print(table)

    best = max((arm.name for arm in ARMS[1:]), key=lambda name: changes[name])
    _, ahead = over_images(
        [made[best] for made in by_seed], [made["standard"] for made in by_seed], resamples
    )
    faster = times_as_fast(best, "standard", frames)
    per_seed = over_seeds([made[best].map50 - made["standard"].map50 for made in by_seed])
    claims: list[Claim] = [
        (
            f"{best} is more accurate than standard",
            f"over images {points(ahead)}, over seeds {points(per_seed)} points mAP50",
            ahead.low > 0 and (per_seed is None or per_seed.low > 0),
        ),
        (
            f"{best} is faster than standard",
            f"{ratio_text(faster)} times as fast",
            faster.low > 1,
        ),
        (
            f"{best} is at most 1 point of mAP50 behind the baseline",
            f"{100 * changes[best]:+.1f} points",
            changes[best] >= -0.01,
        ),
    ]
    return print_claims(console, claims)


if __name__ == "__main__":
    sys.exit(main())
