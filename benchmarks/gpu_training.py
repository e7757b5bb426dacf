"""Does a training on a GPU keep the structure, and what is it worth beside the CPU?

    python benchmarks/gpu_training.py [--epochs 4] [--images 320] [--imgsz 320]

Prunes the shipped network, trains it by ``preserving`` for two rounds on the GPU, the second killed
after an epoch and continued, and one round on the CPU beside it. It says whether the structure was
kept after every round, epochs per second of both and the mAP50 of both. Made for 8 minutes on a
GPU; without one it ends with 2.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from kit import CHECKPOINT, host_line, in_workspace
from rich.console import Console
from rich.table import Table

from prunebench.common.cores import usable_cores
from prunebench.common.errors import EXIT_BAD_INPUT
from prunebench.config.pruning import PruneConfig
from prunebench.data.scenes import generate_scenes
from prunebench.steps.events import Event
from prunebench.variants.checkpoint import load_checkpoint
from prunebench.variants.devices import Device, choose, devices_here
from prunebench.variants.pruning.step import Request as PruneRequest
from prunebench.variants.pruning.step import run as prune
from prunebench.variants.retraining.saved import tensor_shapes
from prunebench.variants.retraining.step import Request, Result, run

CHILD = """
import os, signal, sys
from pathlib import Path
from prunebench.variants.retraining.step import Request, run
run(
    Request.model_validate_json(sys.argv[1]),
    Path(sys.argv[2]),
    lambda event: os.kill(os.getpid(), signal.SIGKILL) if event.kind == "epoch" else None,
)
"""
"""A training that is killed once its first epoch is saved."""


def main(folder: Path, console: Console, options: argparse.Namespace) -> int:
    """Train on both and print the table; 1 where a structure was not kept."""
    here = devices_here()
    gpu, cpu = choose("cuda", "auto", here), choose("cpu", "auto", here)
    sizes = {"train": options.images, "val": options.images // 4, "test": 8}
    data = generate_scenes(folder / "scenes", **sizes, width=320, height=180)
    (folder / "prune").mkdir()
    asked = PruneRequest(
        checkpoint=str(CHECKPOINT),
        data_yaml=str(data),
        goal=PruneConfig(target=0.3).goals[0],
        round_to=8,
        importance="magnitude",
        bn_batches=4,
        imgsz=(192, 320),
        device=gpu,
    )
    pruned = folder / "prune" / prune(asked, folder / "prune", ignore).checkpoint.path
    table = Table("training", "epochs/s", "mAP50", "structure kept", title=host_line())
    kept = True

    def train(name: str, device: Device, checkpoint: Path, number: int, kill: bool = False) -> Path:
        nonlocal kept
        work, ends = folder / name.replace(" ", "-"), list[float]()
        request = training(device, checkpoint, data, number, options)
        if kill:
            command = [sys.executable, "-c", CHILD, request.model_dump_json(), str(work)]
            code = subprocess.run(command, env=dict(os.environ), check=False).returncode
            if code != -signal.SIGKILL:
                sys.exit(f"it was to be killed after an epoch, and ended with {code}")

        def note(event: Event) -> None:
            if event.kind == "epoch":
                ends.append(time.perf_counter())

        done: Result = run(request, work, note)
        same = shapes(work / "model.pt") == shapes(pruned) and done.training.resumed == int(kill)
        kept = kept and same
        rate = f"{(len(ends) - 1) / (ends[-1] - ends[0]):.2f}" if len(ends) > 1 else "-"
        table.add_row(
            name, rate, f"{done.metrics['metrics/mAP50(B)']:.3f}", "yes" if same else "NO"
        )
        return work / "model.pt"

    first = train("GPU round 1", gpu, pruned, 1)
    train("GPU round 2 killed and continued", gpu, first, 2, kill=True)
    train("CPU round 1", cpu, pruned, 1)
    console.print(table)
    console.print(f"{gpu.words} in {gpu.precision}, CPU with {usable_cores()} threads.")
    return 0 if kept else 1


def training(device: Device, checkpoint: Path, data: Path, number: int, options: Any) -> Request:
    """A round of ``preserving`` on a device."""
    values: dict[str, Any] = {"strategy": "preserving", "settings": {"lr0": 0.001}}
    return Request(
        **values,
        checkpoint=str(checkpoint),
        data_yaml=str(data),
        round=number,
        epochs=options.epochs,
        imgsz=options.imgsz,
        batch=16,
        device=device,
        precision=device.precision,
        workers=device.workers,
        threads=usable_cores(),
        image_hw=(192, 320),
    )


def shapes(path: Path) -> Any:
    """Of every tensor in a checkpoint."""
    return tensor_shapes(load_checkpoint(path))


def ignore(_: Event) -> None:
    """Hear an event."""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--images", type=int, default=320)
    parser.add_argument("--imgsz", type=int, default=320)
    arguments = parser.parse_args()
    if not devices_here().cards:
        print("There is no GPU that torch sees on this host, so nothing is measured.")
        sys.exit(EXIT_BAD_INPUT)
    in_workspace(lambda folder, console: main(folder, console, arguments))
