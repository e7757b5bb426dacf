"""Does a retraining keep the structure? Every case, counted before and after.

    python benchmarks/retraining_structure.py [--seeds 5] [--models yolov8n yolo11n] [--out FOLDER]

For each seed, network and task: a stock network with random weights is pruned and then trained by
both strategies for two rounds, each round interrupted after its first epoch and continued. The
table gives parameters, MACs and the number of convolutions whose width changed; the exit status is
1 where ``preserving`` changed anything or ``standard`` did not restore the stock network.

A case trains for two epochs on eight images: this is about structure, not about accuracy.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("YOLO_OFFLINE", "true")
os.environ.setdefault("YOLO_VERBOSE", "false")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from rich.console import Console
from rich.table import Table

from prunebench.common.errors import StepError
from prunebench.common.records import Structure
from prunebench.config.strategy_settings import settings_model
from prunebench.config.targets import parse_goal
from prunebench.data.dataset import read_dataset
from prunebench.data.scenes import generate_scenes
from prunebench.steps.events import Event
from prunebench.variants.checkpoint import load_checkpoint, save_checkpoint
from prunebench.variants.pruning.step import Request as PruneRequest
from prunebench.variants.pruning.step import run as prune
from prunebench.variants.retraining.step import Request, run
from prunebench.variants.structure import structure_of

HW = (64, 96)
ROUNDS = 2


@dataclass(frozen=True)
class Case:
    """One chain of two rounds.

    Attributes:
        parent: The pruned network.
        rounds: What each round ended with.
        resumed: How often it was continued, all rounds together.
    """

    network: str
    seed: int
    strategy: str
    stock: Structure
    parent: Structure
    rounds: tuple[Structure, ...]
    resumed: int

    @property
    def as_expected(self) -> bool:
        """Whether the structure is what the strategy promises, in every round."""
        expected = self.parent if self.strategy == "preserving" else self.stock
        return self.resumed == ROUNDS and all(
            (r.parameters, r.widths, r.macs)
            == (expected.parameters, expected.widths, expected.macs)
            for r in self.rounds
        )


class Interrupted(Exception):
    """Stands for a kill after the first epoch."""


def interrupt(event: Event) -> None:
    """Interrupt a training when its first epoch has been saved."""
    if event.kind == "epoch":
        raise Interrupted


def silent(event: Event) -> None:
    """Drop an event."""


def polygons(labels: Path) -> None:
    """Write each box as the polygon of its corners, as segmentation needs it."""
    for path in labels.rglob("*.txt"):
        rows = []
        for line in path.read_text().splitlines():
            kind, x, y, w, h = line.split()
            left, right = float(x) - float(w) / 2, float(x) + float(w) / 2
            top, bottom = float(y) - float(h) / 2, float(y) + float(h) / 2
            corners = (left, top, right, top, right, bottom, left, bottom)
            rows.append(" ".join([kind, *(f"{min(1, max(0, value)):.5f}" for value in corners)]))
        path.write_text("".join(f"{row}\n" for row in rows))


def stock_network(name: str, data_yaml: Path, seed: int, path: Path) -> Structure:
    """Write a stock network with random weights and describe it."""
    import torch
    from ultralytics.nn.tasks import DetectionModel, SegmentationModel

    names = read_dataset(data_yaml).names
    torch.manual_seed(seed)
    build: Any = SegmentationModel if name.endswith("-seg") else DetectionModel
    network = build(f"{name}.yaml", nc=len(names), verbose=False)
    network.names = names
    network.task = "segment" if name.endswith("-seg") else "detect"
    save_checkpoint(network, path, {})
    return structure_of(load_checkpoint(path), HW)


def chain(
    network: str, seed: int, strategy: str, stock: Structure, pruned: Path, data_yaml: Path
) -> Case:
    """Train two rounds, each interrupted and continued."""
    parent = structure_of(load_checkpoint(pruned), HW)
    checkpoint, rounds, resumed = pruned, [], 0
    for number in range(1, ROUNDS + 1):
        folder = pruned.parent / f"{strategy}-{number}"
        request = Request(
            strategy=strategy,
            settings=settings_model(strategy).model_validate({"close_mosaic": 1}),
            checkpoint=str(checkpoint),
            data_yaml=str(data_yaml),
            round=number,
            epochs=2,
            imgsz=64,
            batch=4,
            seed=seed,
            image_hw=HW,
        )
        try:
            run(request, folder, interrupt)
        except StepError as error:
            if "Interrupted" not in error.reason:
                raise
        result = run(request, folder, silent)
        resumed += result.training.resumed
        rounds.append(result.structure)
        checkpoint = folder / result.checkpoint.path
    return Case(network, seed, strategy, stock, parent, tuple(rounds), resumed)


def show(cases: list[Case]) -> None:
    """Print one row a case."""
    table = Table(
        "network", "seed", "strategy", "stock", "pruned", "round 1", "round 2", "MACs", "ok"
    )
    for case in cases:
        table.add_row(
            case.network,
            str(case.seed),
            case.strategy,
            f"{case.stock.parameters:,}",
            f"{case.parent.parameters:,}",
            *(f"{structure.parameters:,}" for structure in case.rounds),
            f"{case.parent.macs:,} -> {case.rounds[-1].macs:,}",
            "yes" if case.as_expected else "NO",
        )
    Console(width=140).print(table)


def main() -> int:
    """Run every case and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--models", nargs="+", default=["yolov8n", "yolo11n"])
    parser.add_argument(
        "--tasks", nargs="+", choices=("detect", "segment"), default=["detect", "segment"]
    )
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    out = options.out or Path(tempfile.mkdtemp(prefix="structure-"))
    cases = []
    # Ultralytics collects garbage several times a training: spare it what is imported by now.
    gc.freeze()
    for task in options.tasks:
        data_yaml = generate_scenes(out / task, train=8, val=4, test=4, width=96, height=64)
        if task == "segment":
            polygons(out / task / "labels")
        for model in options.models:
            name = model if task == "detect" else f"{model}-seg"
            for seed in range(options.seeds):
                folder = out / f"{name}-{seed}"
                folder.mkdir(exist_ok=True)
                stock = stock_network(name, data_yaml, seed, folder / "stock.pt")
                prune(
                    PruneRequest(
                        checkpoint=str(folder / "stock.pt"),
                        data_yaml=str(data_yaml),
                        goal=parse_goal(str(0.3)),
                        round_to=8,
                        importance="magnitude",
                        bn_batches=1,
                        seed=seed,
                        imgsz=HW,
                    ),
                    folder,
                    silent,
                )
                for strategy in ("standard", "preserving"):
                    case = chain(name, seed, strategy, stock, folder / "model.pt", data_yaml)
                    print(f"{name} {seed} {strategy}: {case.as_expected}", file=sys.stderr)
                    cases.append(case)
    show(cases)
    wrong = sum(not case.as_expected for case in cases)
    print(f"{len(cases) - wrong} of {len(cases)} cases as expected")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
