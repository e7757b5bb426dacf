"""What the latency benchmarks share: the shipped network, scenes, and a table of claims."""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("YOLO_OFFLINE", "true")
os.environ.setdefault("YOLO_VERBOSE", "false")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from prunebench.common.cores import physical_cores
from prunebench.common.records import sha256_of
from prunebench.config.sections import LatencyConfig
from prunebench.measuring.host.fingerprint import cpu_model
from prunebench.measuring.latency.measure import Target, measure
from prunebench.measuring.latency.samples import read_samples
from prunebench.measuring.latency.stopping import round_medians

CHECKPOINT = Path(__file__).parent.parent / "assets" / "scenes-yolov8n.pt"
IMGSZ = (192, 320)
OPSET = 17
CLASSES = 7
BURST = 10  # Inferences of one network between two others'.

Claim = tuple[str, str, bool]
"""What is asked, what was found, whether it holds."""

Network = Callable[[Any], Any]
"""What gives outputs for the pixels of an image."""


def export_network(folder: Path, imgsz: tuple[int, int] = IMGSZ) -> Path:
    """The shipped network as ONNX.

    Args:
        folder: Where it goes.
        imgsz: (height, width) in pixels.
    """
    from prunebench.variants.export import export_onnx

    height, width = imgsz
    with tempfile.TemporaryDirectory(dir=folder) as work:
        written = export_onnx(CHECKPOINT, Path(work), imgsz, opset=OPSET)
        return written.rename(folder / f"network-{height}x{width}.onnx")


def model_times(
    files: Mapping[str, Path], folder: Path, *, rounds: int, seconds: float = 0.3
) -> dict[str, dict[int, float]]:
    """Model-only milliseconds of each file by round, on one thread, all measured in turns.

    A number of ``rounds`` that does not depend on what they show keeps intervals honest.
    """
    names = {label: label.replace(" ", "-") for label in files}
    result = measure(
        [Target(names[label], path, sha256_of(path)) for label, path in files.items()],
        [],
        LatencyConfig(
            threads=(1,), rounds_min=rounds, rounds_max=rounds, seconds=seconds, paced=False
        ),
        realtime_fps=20.0,
        imgsz=IMGSZ,
        nc=CLASSES,
        seed=0,
        folder=folder,
        who=f"benchmarks/{Path(sys.argv[0]).name}",
        on_event=show,
    )
    medians = round_medians(read_samples(folder / result.samples.path), "model")
    return {label: medians[name, 1] for label, name in names.items()}


def time_together(networks: dict[str, Network], rounds: int, pixels: Any) -> dict[str, Any]:
    """Median milliseconds of each network's burst in every round, in shuffled order."""
    medians: dict[str, dict[int, float]] = {name: {} for name in networks}
    order = random.Random(0)
    for number in range(rounds):
        for name in order.sample([*networks], len(networks)):
            networks[name](pixels)
            times = []
            for _ in range(BURST):
                began = time.perf_counter()
                networks[name](pixels)
                times.append(1000 * (time.perf_counter() - began))
            medians[name][number] = float(np.median(times))
    return medians


def copies(onnx: Path, names: Sequence[str]) -> list[Target]:
    """One file as several variants."""
    digest = sha256_of(onnx)
    return [Target(name, onnx, digest) for name in names]


def write_scenes(folder: Path, count: int = 16) -> list[Path]:
    """Built-in scenes to letterbox, 320 x 180."""
    from prunebench.data.scenes import render_scene

    paths = []
    for index in range(count):
        image, _ = render_scene(np.random.default_rng(index))
        paths.append(folder / f"scene-{index}.png")
        cv2.imwrite(str(paths[-1]), image)
    return paths


def arguments(description: str | None, repetitions: int | None = None) -> argparse.Namespace:
    """``--quick``, and ``--repetitions`` where there are any."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="prove that it runs; proves no claim")
    if repetitions is not None:
        parser.add_argument("--repetitions", type=int, default=repetitions)
    return parser.parse_args()


def size(text: str) -> tuple[int, int]:
    """(height, width) of ``192x320``."""
    height, width = text.split("x")
    return int(height), int(width)


def show(event: dict[str, object]) -> None:
    """Print stages and waits on standard error."""
    if event.kind in ("stage", "waiting"):
        print(event.what, file=sys.stderr, flush=True)


def print_claims(console: Console, claims: Sequence[Claim]) -> int:
    """Print what was asked and found; 1 where anything does not hold."""
    table = Table("asked", "found", "holds", title=host_line(), title_justify="left")
    for asked, found, holds in claims:
        table.add_row(asked, found, "[green]yes" if holds else "[red]no")
    console.print(table)
    return 0 if all(holds for _, _, holds in claims) else 1


def host_line() -> str:
    """The host and its load, for the title of a table."""
    load = os.getloadavg()[0]
    return f"{cpu_model()}, {physical_cores()} cores, load average {load:.1f}"


def in_workspace(main: Callable[[Path, Console], int]) -> None:
    """Run ``main`` in a temporary folder and exit with what it returns."""
    console = Console()
    # A terminated benchmark has to end its children and to remove its files, too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="prunebench-benchmark-") as folder:
        status = main(Path(folder), console if console.is_terminal else Console(width=110))
    sys.exit(status)
