"""Does every head of every family run to its table, and is its result plain Ultralytics' to use?

    python benchmarks/heads.py [--networks yolov8n-pose ...] [--epochs 8] [--quick]
    python benchmarks/heads.py --two-heads CHECKPOINT

Each network is trained from random weights for a few epochs on 200 built-in scenes at 160 px (a
classification on 800), pruned, retrained for an epoch, exported (both heads, where it has two),
evaluated, measured and ranked.
Plain Ultralytics' validator is asked for its mAP50, or top-1, of the same files, and in a fresh
environment without this package opens the pruned checkpoint, validates and exports it
(``plain_ultralytics.py``). Networks that cannot be pruned are refused by the name of a module. Exit
status 1 where anything does not hold.

``--two-heads`` measures both heads of a YOLOv10 or YOLO26, unpruned and pruned, side by side.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, NamedTuple

from kit import OPSET, Claim, host_line, in_workspace, print_claims, show
from plain_ultralytics import IMGSZ, claims_there, fresh_environment, used_there
from rich.console import Console
from rich.table import Table

from prunebench.common.errors import PrunebenchError
from prunebench.common.plain import METRIC_NAMES
from prunebench.common.variant_record import VariantRecord
from prunebench.config.loading import parse_config
from prunebench.experiment.inputs import Experiment
from prunebench.experiment.make import evaluate_variant, export_variant, make_variant
from prunebench.experiment.measure_and_rank import measure_latency, rank_run
from prunebench.experiment.prepare import prepare
from prunebench.measuring.heads import HEADS
from prunebench.results.outcome import RunRanking
from prunebench.results.ranking.records import RankedVariant
from prunebench.steps.events import Stage
from prunebench.variants.export import export_onnx
from prunebench.variants.opening import open_network

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))
from accuracy_kit import of_ultralytics

SUFFIXES = {"detect": "", "segment": "-seg", "pose": "-pose", "obb": "-obb", "classify": "-cls"}
FAMILIES = ("yolov8n", "yolo11n", "yolo12n", "yolo26n")
NETWORKS = tuple(f"{family}{end}" for end in SUFFIXES.values() for family in FAMILIES)
DETECTORS = ("yolov10n", "yolov9t")
TWO_HEADS = ("yolov10", "yolo26")
REFUSED = {
    "rtdetr-l": "model.28 (RTDETRDecoder)",
    "yolov9c": "model.3 (ADown)",
    "yolov8n-world": "model.23 (WorldDetect)",
    "yoloe-11n-seg": "model.23 (YOLOESegment)",
}
"""What cannot be pruned, and the module its refusal names."""

LARGEST = 5e-5  # Difference of two accuracies of the same file.
GUESS = 1 / 7  # Of the scenes' classes.
BRIEF = {"threads": [1], "rounds_min": 3, "rounds_max": 3, "seconds": 0.05, "paced": False}
LONG = {"threads": [1], "rounds_min": 12, "rounds_max": 12, "seconds": 0.3, "paced": False}


class Ran(NamedTuple):
    """A run: what was planned, what was made of it, and how it ranks."""

    experiment: Experiment
    made: dict[str, VariantRecord]
    ranked: RunRanking

    def row(self, name: str) -> RankedVariant:
        """A variant's row of its table."""
        return self.ranked.rankings[0].row(name)


def ran(values: dict[str, Any], folder: Path) -> Ran:
    """Make, measure and rank the variants of a configuration."""
    given = {
        "out": str(folder),
        "image": {"height": IMGSZ[0], "width": IMGSZ[1]},
        "export": {"parity_images": 4},
    }
    experiment = prepare(parse_config(given | values))
    made: dict[str, VariantRecord] = {}
    for planned in experiment.variants:
        parent = made.get(planned.parent or "")
        variant = make_variant(experiment, planned, parent, made.get("baseline"), show)
        variant = export_variant(experiment, variant, show)
        made[planned.name] = evaluate_variant(experiment, variant, show)
    latency = measure_latency(experiment, [*made.values()], show)
    return Ran(experiment, made, rank_run(experiment, [*made.values()], latency))


def tiny_run(name: str, task: str, epochs: int, images: int, folder: Path) -> Ran:
    """Train a described network, prune it, retrain it."""
    height, width = size_of(task)
    scenes = f"scenes{SUFFIXES[task]}:train={images},val=40,test=40,width=160,height=90"
    if task == "classify":
        # One object an image teaches less than several.
        scenes = f"scenes-classes:train={4 * images},val=40,test=40,width={width},height={height}"
    values: dict[str, Any] = {
        "name": name,
        "model": f"{name}.yaml",
        "data": scenes,
        "image": {"height": height, "width": width},
        "baseline": {"epochs": epochs, "imgsz": IMGSZ[1], "batch": 8},
        "prune": {"target": 0.2, "allocation": "uniform", "bn_batches": 4},
        "retrain": {
            "rounds": 1,
            "epochs": 1,
            "imgsz": IMGSZ[1],
            "batch": 8,
            "control": False,
            "strategies": {"preserving": {"lr0": 0.001, "nbs": 8}},
        },
        "controls": ["other-head"] if with_two_heads(name, task) else [],
        "latency": BRIEF,
    }
    return ran(values, folder)


def with_two_heads(name: str, task: str) -> bool:
    """Whether a network has a head that needs an NMS and one that does not."""
    return name.startswith(TWO_HEADS) and task != "classify"


def size_of(task: str) -> tuple[int, int]:
    """(height, width) of the images that a network of a task is deployed with."""
    return (IMGSZ[1], IMGSZ[1]) if task == "classify" else IMGSZ


def validated(run: Ran, task: str, folder: Path) -> tuple[float, str]:
    """Largest difference from plain Ultralytics' mAP50 of the same files, and the figures."""
    largest, told = 0.0, []
    for name, variant in run.made.items():
        file = run.experiment.run_folder / variant.exported.onnx.path
        split = run.experiment.split
        metrics = of_ultralytics(file, task, data_of(run, task), folder, split)
        named = {"box": "box", "mask": "seg", "pose": "pose"}
        for overlap, ours in variant.accuracy.by_overlap.items():
            is_share = overlap == "top1"
            their = metrics.top1 if is_share else float(getattr(metrics, named[overlap]).map50)
            largest = max(largest, abs(ours - their))
            told.append(f"{name} {overlap} {ours:.4f}, there {their:.4f}")
    return largest, "\n".join(told)


def data_of(run: Ran, task: str) -> Path:
    """What Ultralytics' validator is given: a data YAML, or the folder of a classification."""
    return run.experiment.dataset.root if task == "classify" else Path(run.experiment.data_yaml)


def claims_of(
    name: str, epochs: int, images: int, folder: Path, python: Path | None
) -> list[Claim]:
    """One network from its description to the table, and its pruned checkpoint elsewhere."""
    ends = {end: task for task, end in SUFFIXES.items() if end}
    task = next((task for end, task in ends.items() if name.endswith(end)), "detect")
    run = tiny_run(name, task, epochs, images, folder / "runs")
    apart, told = validated(run, task, folder)
    row, kept = run.row("preserving-1"), run.made["preserving-1"]
    metric = HEADS[task].overlaps[0]
    least = GUESS if metric == "top1" else 0.0
    # After a quick training nothing need be found.
    found = python is None or all(m.estimate > least for m in row.shown_map50(metric).values())
    claims = [
        (f"{name}: as accurate as plain Ultralytics says of the same files", told, apart < LARGEST),
        (
            f"{name}: pruned and retrained, it finds something",
            f"{row.parameters:,} of {run.row('baseline').parameters:,} parameters, "
            f"{row.latency_ms.estimate:.2f} ms, {row.fps.estimate:.0f} FPS",
            found and kept.audit is not None and kept.audit.verdict == "preserved",
        ),
    ]
    root = run.experiment.run_folder
    checkpoint, onnx = root / kept.checkpoint.path, root / kept.exported.onnx.path
    if with_two_heads(name, task):
        (beside := folder / f"{name}-other").mkdir()
        other = export_onnx(checkpoint, beside, IMGSZ, opset=OPSET, head="one_to_one")
        left = of_ultralytics(other, task, run.experiment.data_yaml, folder).box.map50
        claims.append(
            (f"{name}: its other head is kept", f"mAP50 {left:.4f}", python is None or left > 0)
        )
    if python is None:
        return claims
    there = used_there(python, checkpoint, onnx, data_of(run, task), task, size_of(task))
    named = METRIC_NAMES[metric]
    return [*claims, *claims_there(name, there, row.parameters or 0, least, named)]


def refusal(name: str, module: str) -> Claim:
    """Whether a network that cannot be pruned is refused by the name of a module."""
    try:
        open_network(f"{name}.yaml")
    except PrunebenchError as error:
        return f"{name}: refused when opened", str(error), module in str(error)
    return f"{name}: refused when opened", "it opened", False


def two_heads(checkpoint: Path, folder: Path) -> Table:
    """Both heads of a network, unpruned and pruned, in one table."""
    values: dict[str, Any] = {
        "name": "two-heads",
        "model": str(checkpoint),
        "data": "scenes",
        "controls": ["other-head"],
        "prune": {"target": 0.2, "allocation": "uniform"},
        "retrain": {"rounds": 0},
        "export": {"head": "one_to_many"},
        "latency": LONG,
    }
    run = ran(values, folder)
    table = Table("variant", "head", title=host_line(), title_justify="left")
    for column in ("mAP50", "model ms", "FPS end to end", "times as fast, end to end"):
        table.add_column(column, justify="right")
    for row in run.ranked.rankings[0].rows:
        exported = run.made[row.name].exported
        figures = (
            told(row.map50, 3),
            told(row.latency_ms, 2),
            told(row.fps, 0),
            "" if row.times_baseline is None else told(row.times_baseline, 2),
        )
        table.add_row(row.name, exported.head, *figures)
    return table


def told(interval: Any, digits: int) -> str:
    """An estimate with its interval."""
    low, high = interval.low, interval.high
    return f"{interval.estimate:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def main(folder: Path, console: Console) -> int:
    """Run every network, print the claims; or measure two heads."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", default=[*NETWORKS, *DETECTORS])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--two-heads", type=Path, metavar="CHECKPOINT")
    parser.add_argument("--quick", action="store_true", help="prove that it runs; proves no claim")
    asked = parser.parse_args()
    if asked.two_heads is not None:
        console.print(two_heads(asked.two_heads.resolve(), folder))
        return 0
    python = None
    networks, epochs, images = asked.networks, asked.epochs, 200
    if asked.quick:
        networks, epochs, images = ["yolov8n-pose"], 1, 16
    else:
        show(Stage(what="installing plain Ultralytics in a fresh environment"))
        python = fresh_environment(folder / "environment")
    claims = [refusal(*one) for one in REFUSED.items()]
    for name in networks:
        show(Stage(what=name))
        claims += claims_of(name, epochs, images, folder, python)
    return print_claims(console, claims)


if __name__ == "__main__":
    in_workspace(main)
