"""Accuracy against measured latency: our default pruning, peers' recipes, and cheap alternatives.

Every recipe prunes the same baseline to the same measured speed-ups and retrains with the same
budget. Beside them stand what needs no pruning: the baseline in INT8, the baseline at a lower
resolution, and a smaller stock network trained for as long as baseline and retraining together,
and beside those the default's own network in INT8. All files are measured side by side. With
``--seeds`` every pruned network is retrained that often: accuracies are means over the trainings,
and the intervals are those of other test images and of other trainings.

    python benchmarks/frontier.py                 # the built-in scenes and the shipped checkpoint
    python benchmarks/frontier.py --data neontrees --model best.pt --height 192 --width 320 \
        --imgsz 320 --batch 8 --epochs 6 --lr0 0.01 --seeds 3
    python benchmarks/frontier.py --fastest       # against the unpruned network's plain export

With ``--fastest`` the only recipe is that of ``configs/fastest.yaml``, in INT8, with all its seeds.
Beside it stand the unpruned network trained alike, the given one in INT8, and the default's, float
and INT8, trained on the same data; speed-ups are over the plain float export of the given one.
``--height 192 --width 320 --imgsz 320 --epochs 10`` trains and shows them at that size.

Interrupted, it goes on where it stopped: what is trained is kept below --out.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import matplotlib as mpl
import numpy as np
from kit import CHECKPOINT, host_line, show
from rich.console import Console
from rich.table import Table

from prunebench.common.errors import InputError, StepError
from prunebench.common.records import Interval
from prunebench.common.statistics import interval
from prunebench.common.variant_record import VariantRecord
from prunebench.config.loading import Config, load_config, parse_config
from prunebench.config.sections import LatencyConfig
from prunebench.experiment.alternatives import quantize_variant
from prunebench.experiment.inputs import Experiment
from prunebench.experiment.make import evaluate_variant, export_variant, make_variant
from prunebench.experiment.plan import INT8, PlannedVariant, plan_variants
from prunebench.experiment.prepare import prepare
from prunebench.measuring.latency.intervals import ratio_interval
from prunebench.measuring.latency.measure import Target, measure
from prunebench.measuring.latency.samples import read_samples
from prunebench.measuring.latency.stopping import round_medians
from prunebench.measuring.map_bootstrap import Resamples, load_detections

mpl.use("Agg")

DEFAULT = "default (latency-aware)"
RECIPES: Mapping[str, dict[str, Any]] = {
    DEFAULT: {},
    "uniform, aligned": {"allocation": "uniform"},
    # Torch-Pruning's own YOLOv8 example: magnitude, the same ratio everywhere, any width.
    "uniform magnitude": {"allocation": "uniform", "round_to": None},
    "global magnitude": {"allocation": "global", "round_to": None},
    "random": {"allocation": "uniform", "round_to": None, "importance": "random"},
}
CONTROLS = "control"
FASTEST = Path(__file__).parent.parent / "configs" / "fastest.yaml"
RESAMPLES = 2000
LEVEL = 0.95

# Trainings of one network, of which the first is the one that is measured.
Trained = list[tuple[Experiment, VariantRecord]]


def main() -> None:
    """Print the frontier of every recipe and draw it."""
    options = _arguments()
    out = Path(options.out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    made = _fastest(options) if options.fastest else {}
    for recipe in () if options.fastest else options.recipes:
        config = _config(options, RECIPES[recipe], options.targets)
        for name, found in _variants(config, options.seeds).items():
            made["baseline" if name == "baseline" else recipe, name] = found
    for name, found in _controls(options).items():
        made[CONTROLS, name] = found
    rows = _rows(made, options)
    _print(rows, options)
    _draw(rows, out / "frontier.png")


def _config(
    options: argparse.Namespace, prune: dict[str, Any], targets: list[str], **changes: Any
) -> Config:
    return parse_config(
        {
            "name": "frontier",
            "model": options.model,
            "data": options.data,
            "out": options.out,
            "seed": options.seed,
            "image": {"height": options.height, "width": options.width},
            "prune": {"target": targets, **prune},
            "retrain": {
                "rounds": 1,
                "control": False,
                "epochs": options.epochs,
                "imgsz": options.imgsz,
                "batch": options.batch,
                "strategies": {
                    "preserving": {
                        "lr0": options.lr0,
                        "warmup_epochs": 1.0,
                        "close_mosaic": max(1, options.epochs // 4),
                        "nbs": options.batch,
                    }
                },
            },
            "latency": {"threads": [1]},
            **changes,
        }
    )


def _variants(config: Config, seeds: int) -> dict[str, Trained]:
    """Make every variant of one recipe; a target that cannot be reached is said and left out."""
    experiment = prepare(config)
    made: dict[str, VariantRecord] = {}
    found = {}
    for planned in plan_variants(config):
        if planned.parent is not None and planned.parent not in made:
            continue
        parent = None if planned.parent is None else made[planned.parent]
        try:
            made[planned.name] = variant = make_variant(
                experiment, planned, parent, made.get("baseline"), show
            )
        except (InputError, StepError) as error:
            print(f"{planned.name}: {error}", file=sys.stderr)
            continue
        if planned.strategy is not None or planned.parent is None:
            done = evaluate_variant(experiment, export_variant(experiment, variant, show), show)
            pruned = variant if planned.parent is None else made[planned.parent]
            label = "baseline" if planned.goal is None else planned.goal.label
            found[label] = [(experiment, done.model_copy(update={"reached": pruned.reached}))]
            if planned.parent is not None:
                for seed in range(config.seed + 1, config.seed + seeds):
                    again = _again(experiment, planned.name, seed)
                    trained = make_variant(again, planned, parent, made.get("baseline"), show)
                    trained = evaluate_variant(again, export_variant(again, trained, show), show)
                    found[label].append((again, trained))
    return found


def _again(experiment: Experiment, name: str, seed: int) -> Experiment:
    """The experiment with another seed for one variant, in a copy of its folder as it is now."""
    folder = f"{experiment.folder}-{name}-seed{seed}"
    # Its files may be links to cached ones, which a copy over them would change.
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(experiment.folder, folder)
    config = experiment.config.model_copy(update={"seed": seed})
    return experiment.model_copy(update={"config": config, "folder": folder})


def _fastest(options: argparse.Namespace) -> dict[tuple[str, str], Trained]:
    """The plain export, the rewritten one, the recipe's INT8 files, the unpruned trained alike."""
    overrides = {
        "out": options.out,
        "data": options.data,
        "image": {"height": options.height, "width": options.width},
        "retrain.imgsz": options.imgsz,
        "retrain.epochs": options.epochs,
        "retrain.strategies.preserving.close_mosaic": max(1, options.epochs // 4),
    }
    experiment = prepare(load_config(FASTEST, overrides=overrides, environ={}))
    planned = {one.name: one for one in experiment.variants}
    made: dict[str, VariantRecord] = {}

    def make(one: PlannedVariant) -> VariantRecord:
        parent = None if one.parent is None else made[one.parent]
        if one.quantized:
            return quantize_variant(experiment, one, parent, show)
        variant = make_variant(experiment, one, parent, made.get("baseline"), show)
        made[one.name] = export_variant(experiment, variant, show)
        return made[one.name]

    def ready(one: PlannedVariant) -> tuple[Experiment, VariantRecord]:
        return experiment, evaluate_variant(experiment, make(one), show)

    rewritten = [ready(planned["baseline"])]
    found = {("baseline", "plain export"): [ready(planned["baseline-plain"])]}
    found["baseline", "rewritten"] = rewritten
    make(planned["pruned"])
    trained = planned["preserving-relu-1"]
    int8 = planned[f"{trained.name}{INT8}"]
    for one in trained.trainings:
        make(one)
        found.setdefault(("fastest", "relu, INT8"), []).append(
            ready(int8.model_copy(update={"seed": one.seed}))
        )
    alike = planned["retrained-1"].trainings
    found["unpruned", "trained alike"] = [ready(one) for one in alike]
    return found


def _controls(options: argparse.Namespace) -> dict[str, Trained]:
    """What needs no pruning, and the default's network of the same target in INT8."""
    retrained = "preserving-1"
    config = _config(
        options,
        {},
        [options.control],
        controls=["int8"] if options.fastest else ["int8", "resolution", "smaller"],
        quantize={"variants": [retrained]},
    )
    experiment = prepare(config)
    made: dict[str, VariantRecord] = {}
    found = {}
    for planned in plan_variants(config):
        parent = None if planned.parent is None else made[planned.parent]
        if planned.quantized:
            variant = quantize_variant(experiment, planned, parent, show)
        else:
            variant = make_variant(experiment, planned, parent, made.get("baseline"), show)
            variant = export_variant(experiment, variant, show)
        made[planned.name] = variant
        if planned.control or planned.quantized or (options.fastest and planned.strategy):
            name = planned.name.replace(retrained, f"default {options.control}")
            found[name] = [(experiment, evaluate_variant(experiment, variant, show))]
    return found


def _rows(
    made: Mapping[tuple[str, str], Trained], options: argparse.Namespace
) -> list[dict[str, Any]]:
    targets = []
    for (recipe, name), [(experiment, variant), *_] in made.items():
        onnx = variant.exported.onnx
        path = experiment.run_folder / onnx.path
        imgsz = variant.exported.imgsz
        targets.append(Target(f"{recipe}: {name}", path, onnx.sha256, imgsz=imgsz))
    folder = Path(options.out).resolve() / "latency"
    result = measure(
        targets,
        (),
        LatencyConfig(threads=(1,), paced=False, budget_minutes=options.budget),
        realtime_fps=20.0,
        imgsz=(options.height, options.width),
        nc=1,
        seed=options.seed,
        folder=folder,
        on_event=show,
    )
    medians = round_medians(read_samples(folder / result.samples.path), "model")
    base = medians[targets[0].name, 1]
    draws = {key: _mean_draws(trained) for key, trained in made.items()}
    means = {key: np.mean([one.accuracy.map50 for _, one in made[key]]) for key in made}

    def gap(one: tuple[str, str], other: tuple[str, str]) -> Interval:
        """How much more mAP50 the one has than the other."""
        return interval(float(means[one] - means[other]), draws[one] - draws[other], LEVEL)

    baseline = next(iter(made))
    rows = []
    for target, ((recipe, name), trained) in zip(targets, made.items(), strict=True):
        own = medians[target.name, 1]
        key, ours = (recipe, name), (DEFAULT, name)
        variant = trained[0][1]
        rows.append(
            {
                "recipe": recipe,
                "target": name,
                "speedup": ratio_interval(base, own, LEVEL),
                "map50": means[key],
                "each": [one.accuracy.map50 for _, one in trained],
                "loss": gap(baseline, key),
                "lead": gap(ours, key) if ours in made and recipe != DEFAULT else None,
                "parameters": variant.audit.structure.parameters,
                "macs": variant.audit.structure.macs,
            }
        )
    return rows


def _mean_draws(trained: Trained) -> np.ndarray:
    """Mean mAP50 of trainings drawn anew on resamples of the images, the same for all variants."""
    each = np.stack([_draws(*one) for one in trained])
    count, draws = each.shape
    chosen = np.random.default_rng(0).integers(count, size=(count, draws))
    means: np.ndarray = np.take_along_axis(each, chosen, axis=0).mean(axis=0)
    return means


def _draws(experiment: Experiment, variant: VariantRecord) -> np.ndarray:
    """mAP50 on resamples of the images, the same for every variant."""
    detections = load_detections(experiment.run_folder / variant.accuracy.detections.path)
    return Resamples(detections.target_counts, RESAMPLES, 0).scores(detections).draws


def _print(rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    title = f"{options.data}, {options.epochs} epochs of retraining, 1 thread, {host_line()}"
    table = Table(title=title, title_justify="left")
    columns = ("recipe", "target", "speed-up", "mAP50", "of its trainings", "points lost")
    for column in (*columns, "default's lead", "parameters", "M MACs"):
        table.add_column(column, justify="left" if column in ("recipe", "target") else "right")
    for row in rows:
        speed, lead, each = row["speedup"], row["lead"], row["each"]
        table.add_row(
            row["recipe"],
            row["target"],
            f"{speed.estimate:.2f} [{speed.low:.2f}, {speed.high:.2f}]",
            f"{row['map50']:.3f}",
            f"{min(each):.3f} to {max(each):.3f}" if len(each) > 1 else "",
            _points(row["loss"]),
            "" if lead is None else _points(lead),
            f"{row['parameters']:,}",
            f"{row['macs'] / 1e6:.0f}",
        )
    Console(width=160).print(table)


def _points(found: Interval) -> str:
    return f"{100 * found.estimate:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def _draw(rows: list[dict[str, Any]], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 5))
    base = rows[0]
    axes.axhline(base["map50"], color="0.6", linestyle="--", label="unpruned baseline")
    for recipe in dict.fromkeys(row["recipe"] for row in rows[1:]):
        own = sorted(
            (row for row in rows[1:] if row["recipe"] == recipe),
            key=lambda row: row["speedup"].estimate,
        )
        if recipe == CONTROLS:
            _draw_controls(axes, own)
            continue
        x = [row["speedup"].estimate for row in own]
        axes.errorbar(
            x,
            [row["map50"] for row in own],
            xerr=[
                [row["speedup"].estimate - row["speedup"].low for row in own],
                [row["speedup"].high - row["speedup"].estimate for row in own],
            ],
            marker="o",
            capsize=3,
            label=recipe,
        )
    axes.set_xlabel("speed-up over the baseline, measured")
    axes.set_ylabel("mAP50")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    print(f"drawn: {path.name}", file=sys.stderr)


def _draw_controls(axes: Any, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        place = row["speedup"].estimate, row["map50"]
        axes.plot(*place, marker="D", color="0.3", linestyle="none")
        axes.annotate(row["target"], place, textcoords="offset points", xytext=(6, 4), fontsize=8)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=str(CHECKPOINT))
    parser.add_argument("--data", help="default: scenes, with --fastest the recipe's")
    parser.add_argument("--height", type=int, default=96)
    parser.add_argument("--width", type=int, default=160)
    parser.add_argument("--imgsz", type=int, default=160)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--lr0", type=float, default=0.003)
    parser.add_argument("--targets", nargs="+", default=["1.5x", "2x", "3x"])
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--fastest", action="store_true", help="show configs/fastest.yaml alone")
    parser.add_argument("--control", default="2x", help="target the controls stand beside")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1, help="trainings of every pruned network")
    parser.add_argument("--budget", type=float, default=10.0, help="minutes of measuring")
    parser.add_argument("--out", default="runs/frontier")
    parser.add_argument("--quick", action="store_true", help="prove that it runs; proves nothing")
    options = parser.parse_args()
    if options.quick:
        options.data, options.epochs, options.budget = "scenes:train=32,val=24,test=24", 1, 0.2
    usual = load_config(FASTEST, environ={}).data if options.fastest else "scenes"
    options.data = options.data or usual
    return options


if __name__ == "__main__":
    main()
