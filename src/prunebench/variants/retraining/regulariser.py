"""Gradients of torch-pruning's regularisers for a network that stays made of stock classes.

torch-pruning regularises the channel groups it can trace, and it traces no stock ``C2f``. So it
works on a copy whose ``C2f`` modules are split, and what it adds there is carried over.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
import torch_pruning as tp
from torch import nn

from prunebench.config.strategy_settings import SparsityKind
from prunebench.variants.checkpoint import Network
from prunebench.variants.graph.attention import SplitHeads, traced_attention
from prunebench.variants.graph.groups import (
    CONVOLUTIONS,
    PruningGraph,
    forward_to_predictions,
    trace,
)
from prunebench.variants.graph.surgery import split_c2f
from prunebench.variants.structure import blank_image


class Regulariser:
    """Adds a regulariser's gradients to those of a network in training.

    ``bn_l1`` is network slimming (Liu et al., ICCV 2017): weight * sign(scale) on BatchNorm's
    scales. ``group_lasso`` is the group-level regulariser of DepGraph (Fang et al., CVPR 2023):
    weight * 2^(4 (I_max - I_k) / (I_max - I_min)) times every weight of channel k, where I is the
    norm of the channels of a group. Both touch what pruning may remove and nothing else.
    """

    def __init__(
        self, network: Network, kind: SparsityKind, weight: float, ignore: Sequence[str] = ()
    ) -> None:
        self._copy: nn.Module = copy.deepcopy(network).cpu().eval()
        split_c2f(self._copy)
        graph = trace(self._copy, ignore)
        self._pruner = _pruner(graph, kind, weight)
        # By name in the stock network, in the order they are stacked in; heads are taken in turn.
        self._order = {
            f"{name}.{row}": module.order
            for name, module in self._copy.named_modules()
            if isinstance(module, SplitHeads)
            for row in ("conv.weight", "bn.weight", "bn.bias")
        }
        self._parts: dict[str, list[nn.Parameter]] = defaultdict(list)
        for name, parameter in self._copy.named_parameters():
            parameter.grad = torch.zeros_like(parameter)
            self._parts[graph.stock_name(name)].append(parameter)

    @torch.no_grad()
    def add_gradients(self, network: Network) -> None:
        """Add to the gradients of ``network``, the one given at the start, trained since."""
        trained = {
            name: parameter
            for name, parameter in network.named_parameters()
            if parameter.grad is not None
        }
        for name, parameter in trained.items():
            parts, stacked = self._parts[name], parameter
            if name in self._order:
                stacked = parameter[self._order[name].argsort()]
            for part, rows in zip(parts, stacked.split([len(p) for p in parts]), strict=True):
                part.copy_(rows)
        self._copy.zero_grad(set_to_none=False)
        self._pruner.regularize(self._copy)
        for name, parameter in trained.items():
            added = torch.cat([part.grad for part in self._parts[name] if part.grad is not None])
            if name in self._order:
                added = added[self._order[name]]
            parameter.grad.add_(added.to(parameter.device))


def _pruner(graph: PruningGraph, kind: SparsityKind, weight: float) -> Any:
    """torch-pruning's pruner of the kind, on the groups of ``graph`` only."""
    network = graph.network
    prunable = {
        dependency.target.module
        for group in graph.groups
        # The only channel of a group cannot go, and the range of one norm is a division by zero.
        if group.width > 1
        for dependency, _ in group.layers
        if graph.is_outgoing(dependency.handler)
    }
    ignored = [
        module
        for module in network.modules()
        if isinstance(module, (*CONVOLUTIONS, nn.BatchNorm2d)) and module not in prunable
    ]
    scales = [(p, 0) for name, p in network.named_parameters() if name.endswith(".gamma")]
    with traced_attention(network) as opaque:
        arguments = {
            "unwrapped_parameters": scales,
            "example_inputs": blank_image(network),
            "forward_fn": forward_to_predictions,
            "ignored_layers": [*ignored, *opaque.values()],
            "reg": weight,
        }
        if kind == "bn_l1":
            return tp.pruner.BNScalePruner(
                network, importance=tp.importance.BNScaleImportance(), **arguments
            )
        # The groups are found once: widths do not change, so ``update_regularizer``, which finds
        # them anew, would find the same.
        norm = tp.importance.GroupMagnitudeImportance(p=2, normalizer="max")
        return tp.pruner.GroupNormPruner(network, importance=norm, **arguments)
