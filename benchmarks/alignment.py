"""What a block of channels is worth: convolutions at each width, and networks of equal parameters.

The first table is what `prune.round_to: auto` goes by on this host. For the second the shipped
yolov8n (7 classes) is pruned to the same number of parameters with widths of any size and multiples
of 4, 8 and 16; all networks, in float and in INT8, are timed in one measurement. Weights play no
part in it: nothing is retrained.

    python benchmarks/alignment.py
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

sys.path.insert(0, str(Path(__file__).parent))

from kit import CHECKPOINT, OPSET, host_line, show, size, write_scenes
from rich.console import Console
from rich.table import Table

from prunebench.common.records import sha256_of
from prunebench.config.sections import LatencyConfig
from prunebench.config.targets import parse_goal
from prunebench.measuring.host.block import Numbers, measure_block
from prunebench.measuring.host.block_timing import PAID, cost_of_steps
from prunebench.measuring.latency.intervals import ratio_interval
from prunebench.measuring.latency.measure import Target, measure
from prunebench.measuring.latency.samples import read_samples
from prunebench.measuring.latency.stopping import round_medians
from prunebench.measuring.session import SessionSettings
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_block, tell_noise
from prunebench.variants.checkpoint import load_checkpoint
from prunebench.variants.int8.quantizer import Quantizer
from prunebench.variants.pruning.allocation import allocate
from prunebench.variants.pruning.pruner import open_network
from prunebench.variants.pruning.shapes import shapes_of
from prunebench.variants.pruning.timing import Stopwatch
from prunebench.variants.rewriting.apply import PASSES

BLOCKS = (None, 4, 8, 16)
STEPS = (1, 2, 4, 8)


def main() -> None:
    """Print what a step of a width costs, and the speed of every network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parameters", default="1.1M")
    parser.add_argument("--size", default="96x160", help="height x width in pixels")
    options = parser.parse_args()
    imgsz, config = size(options.size), LatencyConfig(threads=(1,), paced=False)
    console = Console(width=120)
    _print_steps(console, config)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        networks = list(_networks(folder, options.parameters, imgsz, config))
        _print_networks(console, networks, folder, imgsz, config)


def _print_steps(console: Console, config: LatencyConfig) -> None:
    title = f"cost of steps to the next multiple, by their arithmetic (a block ends at {PAID:g})"
    table = Table(title=title, title_justify="left")
    for column in ("numbers", *(f"{step} to {2 * step}" for step in STEPS), "block"):
        table.add_column(column)
    blocks = [measure_block(config, numbers) for numbers in get_args(Numbers)]
    for block in blocks:
        costs = (f"{cost_of_steps(block.microseconds, step):.2f}" for step in STEPS)
        table.add_row(block.numbers, *costs, str(block.channels))
    console.print(table)
    for block in blocks:
        console.print(tell_block(block, Messages()))


def _networks(
    folder: Path, parameters: str, imgsz: tuple[int, int], config: LatencyConfig
) -> Iterator[dict[str, Any]]:
    """Each network in float and in INT8, which follows its float file."""
    session, scenes = SessionSettings.of(config), write_scenes(folder)
    stopwatch = Stopwatch(CHECKPOINT, (), imgsz, OPSET, tuple(PASSES), config, folder)
    for block in BLOCKS:
        opened = open_network(load_checkpoint(CHECKPOINT))
        shapes = shapes_of(opened.graph, imgsz)
        goal = parse_goal(f"{parameters} parameters")
        kept = allocate(opened, shapes, goal, "uniform", block=block).kept
        onnx = stopwatch.candidate(kept, block)
        work = folder / f"int8-{block}"
        work.mkdir()
        quantizer = Quantizer(onnx, imgsz, "u8", session, work)
        quantizer.calibrate(scenes, lambda event: None)
        widths = "any width" if block is None else f"multiples of {block}"
        for numbers, file in (("float", onnx), ("int8", quantizer.write("all"))):
            row = {"widths": widths, "numbers": numbers, "onnx": file}
            yield row | {"parameters": shapes.parameters(kept), "macs": shapes.macs(kept)}


def _print_networks(
    console: Console,
    networks: list[dict[str, Any]],
    folder: Path,
    imgsz: tuple[int, int],
    config: LatencyConfig,
) -> None:
    targets = [
        Target(f"{row['numbers']} {row['widths']}", row["onnx"], sha256_of(row["onnx"]))
        for row in networks
    ]
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
    title = f"yolov8n, 7 classes, {imgsz[0]} x {imgsz[1]}, 1 thread, {host_line()}"
    table = Table(title=title, title_justify="left")
    for column in ("numbers", "widths", "parameters", "M MACs", "time against any width"):
        table.add_column(column, justify="left" if column in ("numbers", "widths") else "right")
    for row, own in zip(networks, times, strict=True):
        # The first two have widths of any size.
        ratio = ratio_interval(own, times[row["numbers"] == "int8"], 0.95)
        table.add_row(
            row["numbers"],
            row["widths"],
            f"{row['parameters']:,}",
            f"{row['macs'] / 1e6:.0f}",
            f"{ratio.estimate:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]",
        )
    console.print(table)
    for seen in result.noise:
        print(f"noise: {tell_noise(seen, Messages())}")


if __name__ == "__main__":
    main()
