"""What retraining can do for INT8 files: another activation, and training that sees the integers.

    python benchmarks/int8_training.py [--seeds 3] [--epochs 16] [--activation relu] [--qat]
                                       [--imgsz 96x160] [--rounds 12] [--out FOLDER]

The shipped network is pruned once per seed (35 % of the channels) and retrained for the same epochs
on the same images: by ``preserving``, with ReLU in place of SiLU, by ``qat``. Accuracy is that of
the exported float file and of its INT8 sibling, on the demo's test images; speed, model only, is
that of the first seed's files, measured side by side on one thread. Changes, of mAP50 and below it
of mAP50-95, are means over the seeds, with the smallest and the largest.

Finished steps are kept in ``--out``: the same command goes on where it was ended.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from kit import host_line, model_times, size
from rich.console import Console
from rich.table import Table

from prunebench.common.sole_user import sole_user
from prunebench.common.variant_record import VariantRecord
from prunebench.config.loading import Config, load_config
from prunebench.experiment.alternatives import quantize_variant
from prunebench.experiment.inputs import Experiment, output_folder
from prunebench.experiment.make import evaluate_variant, export_variant, make_variant
from prunebench.experiment.prepare import prepare
from prunebench.measuring.latency.intervals import ratio_interval
from prunebench.steps.events import Event, line

CONFIG = Path(__file__).parent.parent / "configs" / "quickstart.yaml"
REFERENCE = "preserving-1"
INT8 = "-int8"


def configuration(options: argparse.Namespace, seed: int) -> Config:
    """That of one seed: the demo's, but for what is compared here."""
    values = load_config(CONFIG, environ={}).model_dump(mode="json")
    settings = values["retrain"]["strategies"]["preserving"]
    strategies = {"preserving": settings}
    if options.qat:
        strategies["qat"] = settings
    height, width = options.imgsz
    values["image"] = {"height": height, "width": width}
    values["prune"]["target"] = 0.35
    values["retrain"] |= {
        "rounds": 1,
        "epochs": options.epochs,
        "imgsz": width,
        "control": False,
        "strategies": strategies,
        "activation": options.activation,
    }
    values["quantize"] = {"max_map50_loss": 0.5}  # Every layer goes on integers, whatever it loses.
    values |= {"seed": seed, "out": str(options.out)}
    return Config.model_validate(values)


def make(config: Config) -> tuple[Experiment, dict[str, VariantRecord]]:
    """Every variant of one seed, made and evaluated."""
    made: dict[str, VariantRecord] = {}
    with sole_user(output_folder(config)):
        experiment = prepare(config)
        for planned in experiment.variants:
            parent = None if planned.parent is None else made[planned.parent]
            if planned.quantized and parent is not None:
                record = quantize_variant(experiment, planned, parent, tell)
            else:
                record = make_variant(experiment, planned, parent, made.get("baseline"), tell)
                record = export_variant(experiment, record, tell)
            made[planned.name] = evaluate_variant(experiment, record, tell)
    return experiment, made


def tell(event: Event) -> None:
    """Print finished epochs and steps on standard error."""
    if event.kind in ("epoch", "finished"):
        print(line(event), file=sys.stderr, flush=True)


def times_of(
    experiment: Experiment, made: dict[str, VariantRecord], rounds: int
) -> dict[str, dict[int, float]]:
    """Model-only milliseconds of each file by round, measured interleaved."""
    files = {
        name: experiment.run_folder / one.exported.onnx.path
        for name, one in made.items()
        if one.exported is not None
    }
    return model_times(files, experiment.run_folder / "speed", rounds=rounds)


def change(by_seed: list[dict[str, VariantRecord]], name: str, reference: str) -> str:
    """Points of mAP50 and of mAP50-95: the mean over the seeds, the smallest and the largest."""
    lines = []
    for metric in ("map50", "map50_95"):
        gaps = [points(made[name], metric) - points(made[reference], metric) for made in by_seed]
        lines.append(f"{np.mean(gaps):+.1f} ({min(gaps):+.1f} to {max(gaps):+.1f})")
    return "\n".join(lines)


def points(variant: VariantRecord, metric: str) -> float:
    """Of a figure of its accuracy, 0..100."""
    if variant.accuracy is None:
        sys.exit(f"{variant.name} has no accuracy")
    return 100 * float(getattr(variant.accuracy, metric))


def main() -> int:
    """Make every seed's variants, measure the first one's, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--activation", default="relu", choices=["keep", "relu", "hardswish"])
    parser.add_argument("--qat", action="store_true")
    parser.add_argument("--imgsz", type=size, default=(96, 160))
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--out", type=Path, default=Path("runs/int8-training"))
    options = parser.parse_args()
    runs = [make(configuration(options, seed)) for seed in range(options.seeds)]
    by_seed = [made for _, made in runs]
    ms = times_of(*runs[0], options.rounds)
    columns = (
        "variant",
        "mAP50",
        "mAP50-95",
        "against its float file",
        f"against {REFERENCE}, float or INT8",
    )
    speeds = ("times as fast as the baseline", f"as {REFERENCE}{INT8}")
    height, width = options.imgsz
    table = Table(
        *columns,
        *speeds,
        title=f"scenes, {height}x{width}, {options.epochs} epochs, {options.seeds} seeds; "
        f"{host_line()}",
        title_justify="left",
    )
    for name in by_seed[0]:
        means = [
            f"{np.mean([points(made[name], metric) for made in by_seed]):.1f}"
            for metric in ("map50", "map50_95")
        ]
        own = INT8 if name.endswith(INT8) else ""
        fast = (
            ratio_interval(ms[other], ms[name], 0.95) for other in ("baseline", REFERENCE + INT8)
        )
        table.add_row(
            name,
            *means,
            change(by_seed, name, name.removesuffix(INT8)) if own else "",
            change(by_seed, name, REFERENCE + own),
            *(f"{one.estimate:.2f} [{one.low:.2f}, {one.high:.2f}]" for one in fast),
        )
    Console(width=160).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
