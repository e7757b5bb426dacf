"""Step ``sensitivity``: what the loss says when one layer alone is narrowed.

For every group of channels the least important of them are silenced, a share at a time, and the
training loss is measured on labelled images; nothing is retrained.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prunebench.common.files import write_atomically
from prunebench.common.records import FileRef, Record
from prunebench.config.pruning import Importance
from prunebench.steps.events import Emit, Progress, Stage
from prunebench.variants.devices import Device, lying_on

if TYPE_CHECKING:
    from torch import Tensor, nn

    from prunebench.variants.checkpoint import Network
    from prunebench.variants.pruning.batches import Batch
    from prunebench.variants.pruning.paths import Bundle
    from prunebench.variants.pruning.pruner import Opened

BATCHES = 2  # batches of labelled images the loss is measured on

SHARES = (0.25, 0.5, 0.75)
"""Shares of a layer's channels that are silenced; between them the loss is interpolated."""


class Request(Record):
    """Input of the step: a checkpoint and a data YAML (absolute paths), how channels are ranked.

    Attributes:
        ignore: Names of modules whose output widths stay.
        seed: Seed of the drawn images and of random importance.
        imgsz: (height, width) of the letterbox in pixels.
        device: What losses are computed on.
    """

    checkpoint: str
    data_yaml: str
    importance: Importance
    ignore: tuple[str, ...]
    seed: int
    imgsz: tuple[int, int]
    device: Device = Device()


class Sensitivity(Record):
    """Result of the step: ``curves`` maps a bundle's first root to the losses ``SHARES`` add."""

    curves: FileRef


def run(request: Request, workdir: Path, emit: Emit) -> Sensitivity:
    """Measure how much each group of channels matters."""
    from prunebench.data.dataset import images_of, read_dataset
    from prunebench.measuring.host.lock import working_on_host
    from prunebench.variants.checkpoint import load_checkpoint
    from prunebench.variants.pruning.batches import batches_for
    from prunebench.variants.pruning.importance import TAYLOR_BATCHES
    from prunebench.variants.pruning.paths import bundles_of
    from prunebench.variants.pruning.pruner import open_network

    with working_on_host(lambda sentence: emit(Stage(what=sentence))):
        network: Any = load_checkpoint(Path(request.checkpoint))
        images = images_of(read_dataset(Path(request.data_yaml)), "train")
        sample = partial(batches_for, network, images, imgsz=request.imgsz, seed=request.seed)
        opened = open_network(
            network,
            importance=request.importance,
            ignore=request.ignore,
            gradient_batches=sample(TAYLOR_BATCHES),
            seed=request.seed,
            device=request.device,
        )
        bundles = bundles_of(opened.graph.groups, None)
        batches = list(sample(BATCHES))
        emit(Stage(what=f"measuring how much {len(bundles)} groups of channels matter"))
        curves = {}
        with lying_on(network, request.device, "a step before pruning"):
            whole = loss_of(network, batches)
            for done, bundle in enumerate(bundles, start=1):
                losses = _losses(opened, bundle, batches)
                curves[bundle.roots[0]] = [max(0.0, value - whole) for value in losses]
                emit(Progress(done=done, total=len(bundles), unit="group"))
    target = workdir / "sensitivity.json"
    write_atomically(target, json.dumps(curves))
    return Sensitivity(curves=FileRef.of(target, workdir))


def read_curves(path: Path) -> dict[str, list[float]]:
    """The curves that the step wrote."""
    curves: dict[str, list[float]] = json.loads(path.read_text(encoding="utf-8"))
    return curves


def lost_by(bundle: Bundle, curve: Sequence[float]) -> Callable[[int], float]:
    """Added loss of a bundle as a function of the channels kept: it never falls.

    Beyond the largest measured share it goes on with the last slope.
    """
    shares = (0.0, *SHARES)
    losses = np.maximum.accumulate((0.0, *curve))
    slope = (losses[-1] - losses[-2]) / (shares[-1] - shares[-2])

    def lost(kept: int) -> float:
        share = 1 - kept / bundle.width
        beyond = max(0.0, share - shares[-1])
        return float(np.interp(share, shares, losses) + beyond * slope)

    return lost


def loss_of(network: Network, batches: Sequence[Batch]) -> float:
    """Training loss per image in eval mode."""
    import torch

    from prunebench.variants.pruning.importance import training_losses

    with torch.no_grad():
        total = sum(float(loss) for loss in training_losses(network, batches))
    return total / sum(len(batch["img"]) for batch in batches)


def _losses(opened: Opened, bundle: Bundle, batches: Sequence[Batch]) -> Iterator[float]:
    network: Network = opened.graph.network
    members = {group.root: group.members for group in opened.graph.groups}
    [grain] = {group.grain for group in opened.graph.groups if group.root in bundle.roots}
    for share in SHARES:
        count = round(bundle.width * share / grain) * grain
        if grain > 1:  # Of heads, one stays.
            count = min(count, bundle.width - grain)
        silent = {
            member: opened.scores[root].argsort(stable=True)[:count]
            for root in bundle.roots
            for member in members[root]
        }
        with silenced(network, silent):
            yield loss_of(network, batches)


@contextmanager
def silenced(network: nn.Module, channels: Mapping[str, Tensor]) -> Iterator[None]:
    """Set output channels of convolutions to zero while the block runs, as pruning would.

    ``channels`` maps a convolution's name to the indices. What follows it must take zero to zero,
    as SiLU does.
    """
    import torch
    from torch import nn

    from prunebench.variants.graph.groups import norm_after

    kept: list[tuple[Tensor, Tensor]] = []

    def clear(tensor: Tensor, dim: int, indices: Tensor) -> None:
        kept.append((tensor, tensor.detach().clone()))
        tensor.index_fill_(dim, indices.to(tensor.device), 0.0)

    try:
        with torch.no_grad():
            for name, indices in channels.items():
                module: Any = network.get_submodule(name)
                clear(module.weight, int(isinstance(module, nn.ConvTranspose2d)), indices)
                if module.bias is not None:
                    clear(module.bias, 0, indices)
                norm = norm_after(network, name)
                if norm is not None:
                    clear(norm.weight, 0, indices)
                    clear(norm.bias, 0, indices)
        yield
    finally:
        with torch.no_grad():
            for tensor, before in kept:
                tensor.copy_(before)
