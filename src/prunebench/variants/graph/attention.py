"""Attention as channels a dependency graph can follow, so that it can lose whole heads.

Ultralytics computes queries, keys and values of all heads with one convolution, head after head. It
is split here into convolutions as wide as the values, in which a head is the same channels; what a
head's channels do to each other does not matter where they only go together. Folding back is exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.nn.modules.block import AAttn

from prunebench.variants.graph.convolutions import stacked, without
from prunebench.variants.structure import attentions


class SplitHeads(nn.ModuleList):
    """Stands in for an attention's ``qkv``: the last part gives the values.

    ``head``: channels of a head in each part.
    """

    def __init__(self, attention: Any) -> None:
        self.head: int = attention.head_dim
        stock, width = attention.qkv, attention.num_heads * self.head
        channels = torch.arange(stock.conv.out_channels)
        parts = len(channels) // width
        part_of = channels // self.head % parts
        super().__init__(
            without(stock, channels[part_of != part].tolist()) for part in range(parts)
        )

    @property
    def widths(self) -> list[int]:
        """Channels of each part."""
        parts: list[Any] = list(self)
        return [part.conv.out_channels for part in parts]

    @property
    def order(self) -> Tensor:
        """Where the stock convolution's channels are in the parts one after the other."""
        channels = torch.arange(sum(self.widths))
        return channels.view(len(self), -1, self.head).transpose(0, 1).flatten()

    def forward(self, x: Tensor) -> Tensor:
        """Same as the stock convolution, x (batch, channels, height, width)."""
        return torch.cat([part(x) for part in self], 1)[:, self.order]

    def fold(self) -> Any:
        """The stock convolution of the heads there are."""
        return stacked(list(self), self.order)


class TracedAttention(nn.Module):
    """Stands in for attention with ``SplitHeads`` while the network is traced.

    It computes something else, of which channels of the same place meet each other.
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.qkv, self.pe, self.proj = attention.qkv, attention.pe, attention.proj

    def forward(self, x: Tensor) -> Tensor:
        """As wide as what attention gives, x (batch, channels, height, width)."""
        *others, values = (part(x) for part in self.qkv)
        for other in others:
            values = values * other
        result: Tensor = self.proj(values + self.pe(values))
        return result


class OpaqueAttention(nn.Conv2d):
    """Stands in for attention that loses no heads while the network is traced: the same widths."""


def split_heads(network: nn.Module) -> None:
    """Split every attention that can do without a head, in place.

    ``Attention`` reads the width of all heads together off its input, so that with its only head it
    would lose its input.
    """
    for attention in attentions(network).values():
        width = attention.num_heads * attention.head_dim
        free = isinstance(attention, AAttn) or attention.num_heads > 1
        if free and attention.qkv.conv.out_channels % width == 0:
            attention.qkv = SplitHeads(attention)


def fold_heads(network: nn.Module) -> None:
    """Put back every attention's own convolution, with the heads that are left."""
    for attention in attentions(network).values():
        if isinstance(attention.qkv, SplitHeads):
            width = attention.qkv.widths[-1]
            attention.num_heads = width // attention.head_dim
            if isinstance(attention, AAttn):
                attention.all_head_dim = width
            attention.qkv = attention.qkv.fold()


@contextmanager
def traced_attention(network: nn.Module) -> Iterator[dict[str, OpaqueAttention]]:
    """Replace every attention while the block runs; yields those that lose no heads, by name."""
    stock, opaque = attentions(network), {}
    for name, attention in stock.items():
        if isinstance(attention.qkv, SplitHeads):
            network.set_submodule(name, TracedAttention(attention))
        else:
            ends = attention.qkv.conv.in_channels, attention.proj.conv.out_channels
            opaque[name] = OpaqueAttention(*ends, 1)
            network.set_submodule(name, opaque[name])
    try:
        yield opaque
    finally:
        for name, attention in stock.items():
            network.set_submodule(name, attention)
