"""How much each channel of a group is worth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn

from prunebench.config.pruning import Importance
from prunebench.variants.checkpoint import Network
from prunebench.variants.graph.groups import ChannelGroup
from prunebench.variants.pruning.batches import Batch

TAYLOR_BATCHES = 8  # batches the gradient of the loss is summed over


class FilterDistance(tp.importance.GroupMagnitudeImportance):  # type: ignore[misc]
    """FPGM: the summed Euclidean distance of a filter to all others of its layer.

    He et al., "Filter Pruning via Geometric Median", CVPR 2019: a filter near the geometric median
    can be replaced by the others. (torch-pruning's own estimator measures distances of squared
    weights, where two filters of opposite sign are the same.)
    """

    @torch.no_grad()
    def __call__(self, group: tp.dependency.Group) -> Tensor:
        """Importance of every channel of ``group``, shape (channels,), mean 1."""
        distances, roots = [], []
        for item in group.items:
            layer, function = item.dep.target.module, item.dep.handler
            if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                continue
            outgoing = function == tp.prune_conv_out_channels
            if not outgoing and (function != tp.prune_conv_in_channels or layer.groups > 1):
                continue
            weight = layer.weight if outgoing != layer.transposed else layer.weight.transpose(0, 1)
            filters = weight[item.idxs].flatten(1)
            distances.append(torch.cdist(filters, filters).sum(1))
            roots.append(item.root_idxs)
        importance: Tensor = self._normalize(self._reduce(distances, roots), self.normalizer)
        return importance


def score_groups(
    groups: Iterable[ChannelGroup], importance: Importance, *, seed: int
) -> dict[str, Tensor]:
    """Root of a group to the worth of its channels, shape (width,).

    With one ratio for all groups only the order within a group counts; there LAMP, which rescales
    magnitudes to be comparable across layers, gives the order of the magnitudes. ``taylor`` needs
    the gradients of ``training_losses``.
    """
    generator = torch.Generator().manual_seed(seed)
    if importance == "random":
        return {
            group.root: _by_head(group, torch.rand(group.width, generator=generator))
            for group in groups
        }
    estimator: Any = {
        "magnitude": tp.importance.GroupMagnitudeImportance,
        "lamp": tp.importance.LAMPImportance,
        "bn_scale": tp.importance.BNScaleImportance,
        "fpgm": FilterDistance,
        "taylor": tp.importance.GroupTaylorImportance,
    }[importance]()
    # A mask head widens its maps with a convolution that has no BatchNorm behind it.
    fallback = tp.importance.GroupMagnitudeImportance()
    scores = {}
    for group in groups:
        score = estimator(group.layers)
        scores[group.root] = _by_head(group, fallback(group.layers) if score is None else score)
    return scores


def _by_head(group: ChannelGroup, scores: Tensor) -> Tensor:
    """Scores in which the channels of a head are worth their mean, as they go together."""
    return scores.view(-1, group.head).mean(1).repeat_interleave(group.head)


def training_losses(network: Network, batches: Iterable[Batch]) -> Iterator[Any]:
    """The training loss of each batch, summed over its images, with Ultralytics' default weights.

    It is computed where the network lies. Its own training arguments are put back afterwards.
    """
    from ultralytics.cfg import get_cfg

    arguments = getattr(network, "args", None)
    network.args = get_cfg()
    device = next(network.parameters()).device
    try:
        for batch in batches:
            loss, _ = network.loss({name: value.to(device) for name, value in batch.items()})
            yield loss.sum()
    finally:
        network.args = arguments
        network.criterion = None
