"""Ultralytics' ``Conv`` cut into parts and put together again."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn


def without(stock: Any, gone: Sequence[int]) -> Any:
    """A copy of a ``Conv`` without some of its output channels."""
    part = _copied(stock)
    tp.prune_conv_out_channels(part.conv, list(gone))
    tp.prune_batchnorm_out_channels(part.bn, list(gone))
    return part


def stacked(parts: Sequence[Any], order: Tensor | None = None) -> Any:
    """One ``Conv`` with the output channels of all parts, in another ``order`` where given."""
    whole = _copied(parts[0])

    def joined(tensors: list[Tensor]) -> Tensor:
        both = torch.cat(tensors)
        return both if order is None else both[order]

    whole.conv.weight = nn.Parameter(joined([part.conv.weight for part in parts]))
    whole.conv.out_channels = whole.bn.num_features = len(whole.conv.weight)
    for name in ("weight", "bias"):
        setattr(whole.bn, name, nn.Parameter(joined([getattr(part.bn, name) for part in parts])))
    for name in ("running_mean", "running_var"):
        setattr(whole.bn, name, joined([getattr(part.bn, name) for part in parts]))
    return whole


def _copied(conv: Any) -> Any:
    # One activation serves the whole network, so it is not copied.
    return copy.deepcopy(conv, {id(conv.act): conv.act})
