"""Re-estimation of BatchNorm statistics: pruning changes what every later layer sees.

The more is pruned, the more it helps. But the statistics of a training are those of augmented
images, which its weights fit: after a light pruning the old ones serve better than those of plain
images. So both are tried.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from prunebench.variants.pruning.batches import Batch
from prunebench.variants.pruning.sensitivity import loss_of


def improve_batchnorm(
    network: nn.Module, batches: Iterable[Batch], judged_on: Sequence[Batch]
) -> int:
    """Re-estimate the running statistics, and keep them where the training loss is lower then.

    The loss is measured on the labelled batches ``judged_on``; without any, the new ones are kept.
    Returns the batches used, 0 where the old statistics stayed.
    """
    if not judged_on:
        return reestimate_batchnorm(network, batches)
    old = {name: value.clone() for name, value in network.named_buffers()}
    before = loss_of(network, judged_on)
    used = reestimate_batchnorm(network, batches)
    if loss_of(network, judged_on) < before:
        return used
    with torch.no_grad():
        for name, value in network.named_buffers():
            value.copy_(old[name])
    return 0


def reestimate_batchnorm(network: nn.Module, batches: Iterable[Batch]) -> int:
    """Replace the running statistics by plain averages over ``batches``; weights stay.

    The network stays in eval mode, and without any batch nothing changes. Returns the batches used.
    """
    batches = iter(batches)
    first = next(batches, None)
    if first is None:
        return 0
    used = 0

    def images() -> Iterator[torch.Tensor]:
        nonlocal used
        for batch in itertools.chain([first], batches):
            used += 1
            yield batch["img"]

    update_bn(images(), network, device=next(network.parameters()).device)
    return used
