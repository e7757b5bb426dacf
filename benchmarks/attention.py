"""What would it buy to prune attention, by whole heads, and what would it buy at most?

    python benchmarks/attention.py [--networks yolo11n yolo26n yolo12n] [--imgsz 192x320 640x640]
                                   [--rounds 20] [--quick]

Each network is exported and rewritten as a run does it, unpruned and with the same share of its
channels removed everywhere: as it is, which leaves attention alone, with half of the heads of every
attention, and without any attention, which bounds what pruning it can buy. Weights are random, as
speed does not depend on them; what the accuracy loses is not asked. All of one network and size run
on one thread of one process, in bursts of shuffled order. Three minutes; exit status 1 where a
claim does not hold.

Removing a head is to leave what silencing it leaves: its columns of the projection at zero.
Ultralytics' ``Attention`` (YOLO11, YOLO26) reads the width of all heads together off its input, so
it can lose one only with as many channels of the block around it; here a subclass stands in for it,
as if it could.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch_pruning as tp
from kit import OPSET, host_line, in_workspace, print_claims, size
from rewriting import LEVEL, RATIO, SESSION, stock, told
from rich.console import Console
from rich.table import Table
from runtimes import time_together
from torch import Tensor, nn
from ultralytics.nn.modules.block import AAttn, Attention

from prunebench.common.records import Interval
from prunebench.measuring.inference import OnnxNetwork
from prunebench.measuring.latency.intervals import ratio_interval
from prunebench.variants.checkpoint import load_checkpoint, save_checkpoint
from prunebench.variants.export import export_onnx
from prunebench.variants.pruning.alignment import aligned_width
from prunebench.variants.pruning.pruner import narrow, open_network
from prunebench.variants.rewriting.apply import rewrite_file
from prunebench.variants.structure import structure_of

CUTS = ("half of the heads", "no attention")
AS_IT_IS = "as it is"
TOLERANCE = 1e-5  # Of a float32 sum in another order, relative to the largest result.


class Found(NamedTuple):
    """What one network gave at one size: by cut the share of MACs gone and times as fast."""

    network: str
    imgsz: tuple[int, int]
    pruned: bool
    ms: float
    saved: dict[str, float]
    faster: dict[str, Interval]


class AnyWidth(Attention):  # type: ignore[misc]
    """``Attention`` whose heads need not be together as wide as its input."""

    def forward(self, x: Tensor) -> Tensor:
        """Same as ``Attention.forward``, x (batch, channels, height, width)."""
        batch, _, height, width = x.shape
        parts = [self.key_dim, self.key_dim, self.head_dim]
        qkv = self.qkv(x).view(batch, self.num_heads, sum(parts), height * width)
        q, k, v = qkv.split(parts, dim=2)
        weights = ((q * self.scale).transpose(-2, -1) @ k).softmax(dim=-1)
        mixed = (v @ weights.transpose(-2, -1)).view(batch, -1, height, width)
        result: Tensor = self.proj(mixed + self.pe(v.reshape(batch, -1, height, width)))
        return result


def attentions(network: nn.Module) -> dict[str, Any]:
    """Every attention by its name."""
    return {n: m for n, m in network.named_modules() if isinstance(m, Attention | AAttn)}


def keep_heads(attention: Any, kept: range) -> None:
    """Remove every other head, in place; both kinds lay one head's channels side by side."""
    block = attention.qkv.conv.out_channels // attention.num_heads
    projected, values = (
        [c for c in range(width * attention.num_heads) if c // width not in kept]
        for width in (block, attention.head_dim)
    )
    tp.prune_conv_out_channels(attention.qkv.conv, projected)
    tp.prune_batchnorm_out_channels(attention.qkv.bn, projected)
    tp.prune_depthwise_conv_out_channels(attention.pe.conv, values)
    tp.prune_batchnorm_out_channels(attention.pe.bn, values)
    tp.prune_conv_in_channels(attention.proj.conv, values)
    attention.num_heads = len(kept)
    if isinstance(attention, AAttn):
        attention.all_head_dim = len(kept) * attention.head_dim
    else:
        attention.__class__ = AnyWidth


def silence(attention: Any, kept: range) -> None:
    """Let the projection see nothing of every other head."""
    heads = np.arange(attention.proj.conv.in_channels) // attention.head_dim
    attention.proj.conv.weight.data[:, ~np.isin(heads, kept)] = 0


def soundness(name: str) -> Iterator[tuple[str, str, bool]]:
    """Whether a head less is the head silenced, by Ultralytics' forward pass where it has one."""
    for where, attention in attentions(stock(name)).items():
        dim, kept = attention.qkv.conv.in_channels, range(1, attention.num_heads)
        if not kept:
            continue
        image = torch.rand(1, dim, 8, 8, generator=torch.Generator().manual_seed(0))
        silenced, cut = copy.deepcopy(attention), copy.deepcopy(attention)
        silence(silenced, kept)
        keep_heads(cut, kept)
        with torch.no_grad():
            whole, wanted, found = attention(image), silenced(image), cut(image)
        largest = wanted.abs().max()
        apart, told_apart = (float((one - wanted).abs().max() / largest) for one in (found, whole))
        asked = f"{name}, {where}: a head less of {attention.num_heads} as if silenced"
        holds = apart <= TOLERANCE < told_apart
        yield asked, f"{apart:.1e}; with all heads {told_apart:.1e}", holds


def cut(network: nn.Module, how: str) -> nn.Module:
    """A copy of a network with its attention cut."""
    network = copy.deepcopy(network)
    for name, attention in attentions(network).items():
        if how == "no attention":
            network.set_submodule(name, nn.Identity())
        elif how != AS_IT_IS:
            keep_heads(attention, range(max(1, attention.num_heads // 2)))
    return network


def networks_of(name: str, folder: Path) -> Mapping[bool, nn.Module]:
    """A stock network, unpruned and pruned."""
    path = folder / "stock.pt"
    save_checkpoint(stock(name), path, {})
    opened = open_network(load_checkpoint(path))
    kept = {g.root: aligned_width(g.width, RATIO, 16) for g in opened.graph.groups}
    narrow(opened, kept, round_to=16)
    return {False: stock(name), True: opened.graph.network}


def compare(name: str, imgsz: tuple[int, int], folder: Path, rounds: int) -> Iterator[Found]:
    """Make and time all files of one network at one image size."""
    files, macs = {}, {}
    for pruned, network in networks_of(name, folder).items():
        for how in (AS_IT_IS, *CUTS):
            made = cut(network, how)
            macs[pruned, how] = structure_of(made, imgsz).macs
            checkpoint = folder / "cut.pt"
            save_checkpoint(made, checkpoint, {})
            with tempfile.TemporaryDirectory(dir=folder) as work:
                written = export_onnx(checkpoint, Path(work), imgsz, opset=OPSET)
                rewrite_file(written)
                files[pruned, how] = OnnxNetwork(written, imgsz, SESSION)
    pixels = np.random.default_rng(0).random((1, 3, *imgsz), dtype=np.float32)
    keys = {str(key): key for key in files}
    ms = time_together({label: files[key] for label, key in keys.items()}, rounds, pixels)
    own = {keys[label]: rounds_of for label, rounds_of in ms.items()}
    for pruned in (False, True):
        whole = own[pruned, AS_IT_IS]
        yield Found(
            name,
            imgsz,
            pruned,
            float(np.median([*whole.values()])),
            {how: 1 - macs[pruned, how] / macs[pruned, AS_IT_IS] for how in CUTS},
            {how: ratio_interval(whole, own[pruned, how], LEVEL) for how in CUTS},
        )


def table_of(found: list[Found]) -> Table:
    """A network, pruned or not, and image size a row."""
    title = f"Times as fast with less attention, one thread; {host_line()}"
    table = Table("network", "height x width", "pruned", title=title, title_justify="left")
    for column in (AS_IT_IS, *CUTS):
        table.add_column(column, justify="right")
    for one in found:
        cells = [f"{told(one.faster[how])}\nMACs -{one.saved[how]:.1%}" for how in CUTS]
        pruned = f"{RATIO:.0%}" if one.pruned else "no"
        table.add_row(one.network, "{}x{}".format(*one.imgsz), pruned, f"{one.ms:.2f} ms", *cells)
    return table


def main(folder: Path, console: Console) -> int:
    """Compare every network at every size, print the table and the claims."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", default=["yolo11n", "yolo26n", "yolo12n"])
    parser.add_argument("--imgsz", nargs="+", type=size, default=[(192, 320), (640, 640)])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="prove that it runs; proves no claim")
    asked = parser.parse_args()
    sizes, rounds = ([(64, 128)], 3) if asked.quick else (asked.imgsz, asked.rounds)
    claims = [claim for name in asked.networks for claim in soundness(name)]
    found: list[Found] = []
    for name in asked.networks:
        for imgsz in sizes:
            with tempfile.TemporaryDirectory(dir=folder) as work:
                found += compare(name, imgsz, Path(work), rounds)
    console.print(table_of(found))
    return print_claims(console, claims)


if __name__ == "__main__":
    in_workspace(main)
