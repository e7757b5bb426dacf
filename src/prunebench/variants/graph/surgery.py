"""Swap the modules a dependency graph cannot follow, and swap stock ones back afterwards.

``C2f`` computes both halves of its input with one convolution and cuts the result in two; that
cut couples the halves in a way DepGraph cannot express. Two convolutions say the same and can be
pruned; folding them back is exact. Attention reshapes its channels into heads; it is replaced by
a convolution of the same widths while the graph is built, and is left untouched.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.nn.modules.block import AAttn, Attention, C2f
from ultralytics.nn.modules.conv import Conv

from prunebench.common.errors import StepError

PER_CHANNEL = ("weight", "bias", "running_mean", "running_var")
"""Tensors of a BatchNorm layer that hold one value per channel."""


class SplitC2f(nn.Module):
    """Stands in for a ``C2f`` or a subclass of it while the network is pruned.

    Attributes:
        cv0: 1x1 convolution of the half that goes straight to the concatenation.
        cv1: 1x1 convolution of the half that also enters the inner blocks.
        cv2: The stock module's output convolution, shared with it.
        m: The stock module's inner blocks, shared with it.
    """

    def __init__(self, stock: C2f) -> None:
        super().__init__()
        self.cv0 = _slice_of(stock.cv1, 0, stock.c)
        self.cv1 = _slice_of(stock.cv1, stock.c, 2 * stock.c)
        self.cv2, self.m = stock.cv2, stock.m
        # In a tuple, so that its own cv1 is not registered as a module of the network.
        self._stock = (stock,)
        _copy_position(stock, self)
        self.train(stock.training)

    def forward(self, x: Tensor) -> Tensor:
        """Same as ``C2f.forward``, x (batch, channels, height, width)."""
        halves = [self.cv0(x), self.cv1(x)]
        halves.extend(block(halves[-1]) for block in self.m)
        output: Tensor = self.cv2(torch.cat(halves, 1))
        return output

    def fold(self) -> nn.Module:
        """The stock module with the present weights; both halves must be equally wide."""
        stock: Any = self._stock[0]
        width = self.cv0.conv.out_channels
        if self.cv1.conv.out_channels != width:
            raise StepError(
                "prune",
                f"the halves of a {type(stock).__name__} ended {width} and "
                f"{self.cv1.conv.out_channels} channels wide",
            )
        stock.cv1 = _stacked(self.cv0, self.cv1)
        # forward_split, which export uses, cuts at ``c``; forward does not and would hide an error.
        stock.c = width
        stock.np = sum(p.numel() for p in stock.parameters())
        folded: nn.Module = stock.train(self.training)
        return folded


class OpaqueAttention(nn.Module):
    """Stands in for attention while the network is traced: same widths in and out."""

    def __init__(self, stock: Attention | AAttn) -> None:
        super().__init__()
        self.conv = nn.Conv2d(stock.qkv.conv.in_channels, stock.proj.conv.out_channels, 1)
        self._stock = (stock,)

    def forward(self, x: Tensor) -> Tensor:
        """x (batch, channels, height, width), same shape out."""
        output: Tensor = self.conv(x)
        return output

    def restore(self) -> Attention | AAttn:
        """The untouched stock module."""
        return self._stock[0]


def split_c2f(network: nn.Module) -> dict[str, SplitC2f]:
    """Replace every ``C2f`` with an inherited forward by a ``SplitC2f``; names to stand-ins."""
    split = {}
    for name, module in list(network.named_modules()):
        if isinstance(module, C2f) and type(module).forward is C2f.forward:
            split[name] = SplitC2f(module)
            network.set_submodule(name, split[name])
    return split


def fold_c2f(network: nn.Module) -> None:
    """Replace every ``SplitC2f`` by the stock module it stands for.

    Raises:
        StepError: The halves of one are not equally wide.
    """
    # Innermost first, so that an outer module's shared blocks are stock when it is folded.
    for name, module in reversed(list(network.named_modules())):
        if isinstance(module, SplitC2f):
            network.set_submodule(name, module.fold())


@contextmanager
def opaque_attention(network: nn.Module) -> Iterator[dict[str, OpaqueAttention]]:
    """Replace every attention module while the block runs; yields names to stand-ins."""
    stand_ins = {
        name: OpaqueAttention(module)
        for name, module in network.named_modules()
        if isinstance(module, Attention | AAttn)
    }
    for name, stand_in in stand_ins.items():
        network.set_submodule(name, stand_in)
    try:
        yield stand_ins
    finally:
        for name, stand_in in stand_ins.items():
            network.set_submodule(name, stand_in.restore())


def _slice_of(stock: Any, start: int, end: int) -> Any:
    """A convolution with output channels ``start`` to ``end`` of ``stock``."""
    part = _pointwise_like(stock, end - start)
    with torch.no_grad():
        part.conv.weight.copy_(stock.conv.weight[start:end])
        for name in PER_CHANNEL:
            getattr(part.bn, name).copy_(getattr(stock.bn, name)[start:end])
    return part


def _stacked(first: Any, second: Any) -> Any:
    """One convolution with the output channels of both."""
    both = _pointwise_like(first, first.conv.out_channels + second.conv.out_channels)
    with torch.no_grad():
        both.conv.weight.copy_(torch.cat((first.conv.weight, second.conv.weight)))
        for name in PER_CHANNEL:
            parts = getattr(first.bn, name), getattr(second.bn, name)
            getattr(both.bn, name).copy_(torch.cat(parts))
    return both


def _pointwise_like(stock: Any, width: int) -> Any:
    """A 1x1 ``Conv`` with the inputs and settings of ``stock``, ``width`` outputs wide."""
    stock_class: Any = Conv
    conv = stock_class(stock.conv.in_channels, width, 1, act=stock.act)
    conv.bn.eps, conv.bn.momentum = stock.bn.eps, stock.bn.momentum
    conv.bn.num_batches_tracked.copy_(stock.bn.num_batches_tracked)
    # A fresh module is in training mode, where BatchNorm would use the batch's statistics.
    return conv.train(stock.training)


def _copy_position(source: nn.Module, target: nn.Module) -> None:
    """Copy what Ultralytics' forward pass needs of a top-level layer."""
    for name in ("i", "f", "type", "np"):
        if hasattr(source, name):
            setattr(target, name, getattr(source, name))
