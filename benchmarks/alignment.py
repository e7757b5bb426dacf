"""Equal parameters, other widths: what alignment and allocation are worth in latency.

The shipped yolov8n (7 classes) is pruned to the same number of parameters with widths of any size,
multiples of 8 and of 16, and by the latency-aware allocation; all are measured in one measurement.
Weights play no part in it: nothing is retrained.

    python benchmarks/alignment.py
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from kit import CHECKPOINT, OPSET, show
from rich.console import Console
from rich.table import Table

from prunebench.common.records import sha256_of
from prunebench.config.pruning import Allocation
from prunebench.config.sections import LatencyConfig
from prunebench.config.targets import parse_goal
from prunebench.data.dataset import resolve_dataset
from prunebench.measuring.host.fingerprint import fingerprint, kernel_block
from prunebench.measuring.latency.intervals import ratio_interval
from prunebench.measuring.latency.measure import Target, measure
from prunebench.measuring.latency.samples import read_samples
from prunebench.measuring.latency.stopping import round_medians
from prunebench.measuring.session import SessionSettings
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_noise
from prunebench.steps.child import run_child
from prunebench.variants.checkpoint import load_checkpoint
from prunebench.variants.pruning import costs, sensitivity
from prunebench.variants.pruning.allocation import Measurements, allocate, read_measurements
from prunebench.variants.pruning.pruner import open_network
from prunebench.variants.pruning.shapes import shapes_of
from prunebench.variants.pruning.timing import Stopwatch

Case = tuple[str, Allocation, int | None]

CASES: tuple[Case, ...] = (
    ("uniform, any width", "uniform", None),
    ("uniform, multiples of 8", "uniform", 8),
    ("uniform, multiples of 16", "uniform", 16),
    ("latency-aware, this host's block", "latency-aware", kernel_block()),
)


def main() -> None:
    """Print parameters, MACs and the speed of every case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parameters", default="1.72M")
    parser.add_argument("--height", type=int, default=192)
    parser.add_argument("--width", type=int, default=320)
    options = parser.parse_args()
    imgsz = (options.height, options.width)
    config = LatencyConfig(threads=(1,), paced=False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measured = _measurements(folder, imgsz, config)
        stopwatch = Stopwatch(CHECKPOINT, (), imgsz, OPSET, config, folder)
        rows: list[dict[str, Any]] = [{"name": "unpruned", "onnx": folder / "baseline.onnx"}]
        for title, allocation, block in CASES:
            network: Any = load_checkpoint(CHECKPOINT)
            opened = open_network(network)
            shapes = shapes_of(opened.graph, imgsz)
            goal = parse_goal(f"{options.parameters} parameters")
            found = allocate(opened, shapes, goal, allocation, block=block, measurements=measured)
            rows.append(
                {
                    "name": title,
                    "onnx": stopwatch.candidate(found.kept, block),
                    "parameters": shapes.parameters(found.kept),
                    "macs": shapes.macs(found.kept),
                }
            )
            rows[0] |= {"parameters": shapes.parameters_now, "macs": shapes.macs_now}
        _print(rows, folder, imgsz, config)


def _measurements(folder: Path, imgsz: tuple[int, int], config: LatencyConfig) -> Measurements:
    data = resolve_dataset("scenes", cache_dir=folder / "data")
    asked = {"checkpoint": str(CHECKPOINT), "ignore": (), "imgsz": imgsz}
    table = run_child(
        "costs",
        costs.Request(
            **asked,
            block=kernel_block(),
            threads=1,
            session=SessionSettings.of(config),
            host=fingerprint(SessionSettings.of(config)).digest(),
        ),
        folder / "costs",
        threads=1,
        on_event=show,
    )
    curves = run_child(
        "sensitivity",
        sensitivity.Request(**asked, data_yaml=str(data.yaml), importance="magnitude", seed=0),
        folder / "curves",
        threads=2,
        on_event=show,
    )
    return read_measurements(
        folder / "costs" / table["table"]["path"], folder / "curves" / curves["curves"]["path"]
    )


def _print(
    rows: list[dict[str, Any]], folder: Path, imgsz: tuple[int, int], config: LatencyConfig
) -> None:
    targets = [Target(row["name"], row["onnx"], sha256_of(row["onnx"])) for row in rows]
    result = measure(
        targets,
        (),
        config,
        realtime_fps=20.0,
        imgsz=imgsz,
        nc=1,
        seed=0,
        folder=folder / "all",
        on_event=show,
    )
    medians = round_medians(read_samples(folder / "all" / result.samples.path), "model")
    times = [medians[target.name, 1] for target in targets]
    title = f"yolov8n, 7 classes, {imgsz[0]} x {imgsz[1]}, 1 thread, {result.fingerprint.cpu}"
    table = Table(title=title, title_justify="left")
    for column in ("widths", "parameters", "M MACs", "against unpruned", "against any width"):
        table.add_column(column, justify="left" if column == "widths" else "right")
    for row, own in zip(rows, times, strict=True):
        table.add_row(
            row["name"],
            f"{row['parameters']:,}",
            f"{row['macs'] / 1e6:.0f}",
            _speedup(times[0], own),
            _speedup(times[1], own),
        )
    Console(width=120).print(table)
    for seen in result.noise:
        print(f"noise: {tell_noise(seen, Messages())}")


def _speedup(base: dict[int, float], own: dict[int, float]) -> str:
    ratio = ratio_interval(base, own, 0.95)
    return f"{ratio.estimate:.2f}x [{ratio.low:.2f}, {ratio.high:.2f}]"


if __name__ == "__main__":
    main()
