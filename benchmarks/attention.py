"""What does it buy to prune attention by whole heads, against leaving it alone?

    python benchmarks/attention.py [--networks yolo12n yolo11n yolo26n] [--imgsz 192x320 640x640]
                                   [--rounds 20] [--quick]

Each network is pruned to half of its MACs (uniform allocation, blocks of 16) with attention left
alone, by ``prune.ignore``, and with it; exported and rewritten as a run does it. Weights are random
and speed does not depend on them; what the accuracy loses is not asked. All of one network and size
run on one thread of one process, in bursts of shuffled order. Exit status 1 where a claim does not
hold: a network without a head is to compute what it does with that head, and the channels that go
with it, silenced.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from kit import OPSET, host_line, in_workspace, print_claims, size
from rewriting import LEVEL, SESSION, stock, told
from rich.console import Console
from rich.table import Table
from runtimes import time_together
from torch import Tensor, nn

from prunebench.common.records import Interval
from prunebench.config.targets import parse_goal
from prunebench.measuring.inference import OnnxNetwork
from prunebench.measuring.latency.intervals import ratio_interval
from prunebench.variants.checkpoint import load_checkpoint, save_checkpoint
from prunebench.variants.export import export_onnx
from prunebench.variants.pruning.allocation import allocate
from prunebench.variants.pruning.pruner import narrow, open_network
from prunebench.variants.pruning.sensitivity import silenced
from prunebench.variants.pruning.shapes import shapes_of
from prunebench.variants.rewriting.apply import rewrite_file
from prunebench.variants.structure import attentions, structure_of

BLOCK, SHARE = 16, 0.5
UNPRUNED, ALONE, HEADS = "unpruned", "attention left alone", "whole heads"
TOLERANCE = 1e-4  # Of a float32 sum in another order, relative to the largest result.


class Found(NamedTuple):
    """What one network gave at one size; ``kept`` counts heads, and ``macs`` the shares left."""

    network: str
    imgsz: tuple[int, int]
    ms: float
    kept: str
    macs: dict[str, float]
    alone: Interval
    heads: Interval
    gained: Interval


def soundness(name: str) -> tuple[str, str, bool]:
    """Whether every attention with half of its heads is as if the others were silenced."""
    untrained = stock(name)
    for attention in attentions(untrained).values():  # Else predictions hardly depend on it.
        torch.nn.init.constant_(attention.proj.bn.weight, 100)
    opened = open_network(untrained)
    network, groups = opened.graph.network, opened.graph.groups
    kept = {g.root: max(1, g.width // g.grain // 2) * g.grain for g in groups if g.grain > 1}
    gone = {
        member: opened.scores[g.root].argsort(stable=True)[: g.width - kept.get(g.root, g.width)]
        for g in groups
        for member in g.members
    }
    image = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))

    def predicted() -> Tensor:
        with torch.no_grad():
            output: Tensor = network(image)[0]
        return output

    whole = predicted()
    with silenced(network, gone):
        wanted = predicted()
    narrow(opened, {g.root: kept.get(g.root, g.width) for g in groups}, round_to=None)
    largest = wanted.abs().max()
    apart, told_apart = (
        float((one - wanted).abs().max() / largest) for one in (predicted(), whole)
    )
    asked = f"{name}: half of the heads as if the others were silenced"
    return asked, f"{apart:.1e}; all heads {told_apart:.1e}", apart <= TOLERANCE < told_apart


def pruned(path: Path, imgsz: tuple[int, int], ignore: tuple[str, ...]) -> nn.Module:
    """The network of a checkpoint, with ``SHARE`` of its MACs."""
    opened = open_network(load_checkpoint(path), ignore=ignore)
    shapes = shapes_of(opened.graph, imgsz)
    goal = parse_goal(f"{SHARE * shapes.macs(shapes.full):.0f} macs")
    narrow(opened, allocate(opened, shapes, goal, "uniform", block=BLOCK).kept, round_to=BLOCK)
    return opened.graph.network


def compare(name: str, imgsz: tuple[int, int], folder: Path, rounds: int) -> Found:
    """Make and time all files of one network at one image size."""
    path = folder / "stock.pt"
    save_checkpoint(stock(name), path, {})
    whole = load_checkpoint(path)
    networks = {
        UNPRUNED: whole,
        ALONE: pruned(path, imgsz, tuple(attentions(whole))),
        HEADS: pruned(path, imgsz, ()),
    }
    files, macs = {}, {}
    for label, network in networks.items():
        macs[label] = structure_of(network, imgsz).macs
        save_checkpoint(network, folder / "made.pt", {})
        with tempfile.TemporaryDirectory(dir=folder) as work:
            written = export_onnx(folder / "made.pt", Path(work), imgsz, opset=OPSET)
            rewrite_file(written)
            files[label] = OnnxNetwork(written, imgsz, SESSION)
    pixels = np.random.default_rng(0).random((1, 3, *imgsz), dtype=np.float32)
    ms = time_together(files, rounds, pixels)
    heads = [sum(a.num_heads for a in attentions(networks[n]).values()) for n in (HEADS, UNPRUNED)]
    return Found(
        name,
        imgsz,
        float(np.median([*ms[UNPRUNED].values()])),
        "{} of {}".format(*heads),
        {label: count / macs[UNPRUNED] for label, count in macs.items()},
        ratio_interval(ms[UNPRUNED], ms[ALONE], LEVEL),
        ratio_interval(ms[UNPRUNED], ms[HEADS], LEVEL),
        ratio_interval(ms[ALONE], ms[HEADS], LEVEL),
    )


def table_of(found: list[Found]) -> Table:
    """A network and image size a row."""
    title = f"Times as fast as unpruned at half of the MACs, one thread; {host_line()}"
    table = Table("network", "height x width", title=title, title_justify="left")
    for column in (UNPRUNED, ALONE, HEADS, "heads kept", "heads against alone"):
        table.add_column(column, justify="right")
    for one in found:
        pair = [
            f"{told(interval)}\nMACs {one.macs[label]:.1%}"
            for label, interval in ((ALONE, one.alone), (HEADS, one.heads))
        ]
        where = "{}x{}".format(*one.imgsz)
        table.add_row(one.network, where, f"{one.ms:.2f} ms", *pair, one.kept, told(one.gained))
    return table


def main(folder: Path, console: Console) -> int:
    """Compare every network at every size, print the table and the claims."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", default=["yolo12n", "yolo11n", "yolo26n"])
    parser.add_argument("--imgsz", nargs="+", type=size, default=[(192, 320), (640, 640)])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="prove that it runs; proves no claim")
    asked = parser.parse_args()
    sizes, rounds = ([(64, 128)], 3) if asked.quick else (asked.imgsz, asked.rounds)
    claims = [soundness(name) for name in asked.networks]
    found: list[Found] = []
    for name in asked.networks:
        for imgsz in sizes:
            with tempfile.TemporaryDirectory(dir=folder) as work:
                found.append(compare(name, imgsz, Path(work), rounds))
    console.print(table_of(found))
    return print_claims(console, claims)


if __name__ == "__main__":
    in_workspace(main)
