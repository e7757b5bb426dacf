"""Swap the modules a dependency graph cannot follow, and swap stock ones back afterwards.

``C2f`` (and ``C2``, ``PSA``, ``C2PSA``, ``RepNCSPELAN4``) computes both halves of its input with
one convolution and cuts the result in two; that cut couples the halves in a way DepGraph cannot
express. Two convolutions say the same and can be pruned; folding them back is exact. So it is with
the heads of attention.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.nn.modules.block import C2, C2PSA, PSA, C2f, RepNCSPELAN4

from prunebench.common.errors import StepError
from prunebench.variants.checkpoint import parameter_count
from prunebench.variants.graph.attention import fold_heads, split_heads
from prunebench.variants.graph.convolutions import stacked, without


class SplitC2f(nn.Module):
    """Stands in for a ``C2f`` or a subclass of it while the network is pruned.

    Its modules are the stock one's, but for ``cv1``.

    Attributes:
        cv0: 1x1 convolution of the first half, which goes straight to the concatenation.
        cv1: 1x1 convolution of the other half, which also enters the inner blocks.
    """

    attn: Any
    ffn: Any
    m: Any
    cv2: Any
    cv3: Any
    cv4: Any

    def __init__(self, stock: Any) -> None:
        super().__init__()
        self.cv0 = without(stock.cv1, range(stock.c, 2 * stock.c))
        self.cv1 = without(stock.cv1, range(stock.c))
        for name, child in stock.named_children():
            if name != "cv1":
                self.add_module(name, child)
        # In a tuple, so that its own cv1 is not registered as a module of the network.
        self._stock = (stock,)
        for name in ("i", "f", "type", "np"):  # what Ultralytics' forward pass needs of a layer
            if hasattr(stock, name):
                setattr(self, name, getattr(stock, name))
        self.train(stock.training)

    @property
    def stock(self) -> Any:
        """The module it stands in for."""
        return self._stock[0]

    def forward(self, x: Tensor) -> Tensor:
        """Same as ``C2f.forward``, x (batch, channels, height, width)."""
        halves = [self.cv0(x), self.cv1(x)]
        halves.extend(block(halves[-1]) for block in self.m)
        output: Tensor = self.cv2(torch.cat(halves, 1))
        return output

    def fold(self) -> nn.Module:
        """The stock module with the present weights; both halves must be equally wide."""
        stock = self.stock
        width = self.cv0.conv.out_channels
        if self.cv1.conv.out_channels != width:
            raise StepError(
                "prune",
                f"the halves of a {type(stock).__name__} ended {width} and "
                f"{self.cv1.conv.out_channels} channels wide",
            )
        stock.cv1 = stacked([self.cv0, self.cv1])
        # forward_split, which export uses, cuts at ``c``; forward does not and would hide an error.
        stock.c = width
        stock.np = parameter_count(stock)
        folded: nn.Module = stock.train(self.training)
        return folded


class SplitC2(SplitC2f):
    """Stands in for a ``C2``, whose first half goes through the inner blocks alone."""

    def forward(self, x: Tensor) -> Tensor:
        """Same as ``C2.forward``, x (batch, channels, height, width)."""
        output: Tensor = self.cv2(torch.cat((self.m(self.cv0(x)), self.cv1(x)), 1))
        return output


class SplitPSA(SplitC2f):
    """Stands in for a ``PSA`` (YOLOv10), whose other half goes through attention."""

    def forward(self, x: Tensor) -> Tensor:
        """Same as ``PSA.forward``, x (batch, channels, height, width)."""
        own, other = self.cv0(x), self.cv1(x)
        other = other + self.attn(other)
        other = other + self.ffn(other)
        output: Tensor = self.cv2(torch.cat((own, other), 1))
        return output


class SplitELAN(SplitC2f):
    """Stands in for an ``RepNCSPELAN4`` or ``ELAN1`` (YOLOv9)."""

    def forward(self, x: Tensor) -> Tensor:
        """Same as ``RepNCSPELAN4.forward``, x (batch, channels, height, width)."""
        parts = [self.cv0(x), self.cv1(x)]
        parts.extend(block(parts[-1]) for block in (self.cv2, self.cv3))
        output: Tensor = self.cv4(torch.cat(parts, 1))
        return output


class SplitC2PSA(SplitC2f):
    """Stands in for a ``C2PSA``, whose other half goes through attention alone."""

    def forward(self, x: Tensor) -> Tensor:
        """Same as ``C2PSA.forward``, x (batch, channels, height, width)."""
        output: Tensor = self.cv2(torch.cat((self.cv0(x), self.m(self.cv1(x))), 1))
        return output


STAND_INS: dict[type[Any], type[SplitC2f]] = {
    C2f: SplitC2f,
    C2: SplitC2,
    PSA: SplitPSA,
    C2PSA: SplitC2PSA,
    RepNCSPELAN4: SplitELAN,
}


def split_c2f(network: nn.Module) -> dict[str, SplitC2f]:
    """Replace every block of ``STAND_INS`` with its forward by a stand-in; names to stand-ins.

    Attention is split into heads.
    """
    split_heads(network)
    split = {}
    for name, module in list(network.named_modules()):
        for stock, stand_in in STAND_INS.items():
            if isinstance(module, stock) and type(module).forward is stock.forward:
                split[name] = stand_in(module)
                network.set_submodule(name, split[name])
    return split


def fold_c2f(network: nn.Module) -> None:
    """Replace every ``SplitC2f``, whose halves must be equally wide, and heads by stock modules."""
    fold_heads(network)
    # Innermost first, so that an outer module's shared blocks are stock when it is folded.
    for name, module in reversed(list(network.named_modules())):
        if isinstance(module, SplitC2f):
            network.set_submodule(name, module.fold())
