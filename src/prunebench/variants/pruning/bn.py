"""Re-estimation of BatchNorm statistics: pruning changes what every later layer sees.

The more is pruned, the more it helps. But the statistics of a training are those of augmented
images, which its weights fit: after a light pruning the old ones serve better than those of plain
images. So both are tried.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn

from prunebench.variants.pruning.batches import Batch
from prunebench.variants.pruning.sensitivity import loss_of


def improve_batchnorm(
    network: nn.Module, batches: Iterable[Batch], judged_on: Sequence[Batch]
) -> int:
    """Re-estimate the running statistics, and keep them where the training loss is lower then.

    Args:
        network: A network in eval mode, which it is again afterwards.
        batches: As for ``reestimate_batchnorm``.
        judged_on: Labelled batches the loss is measured on. Without any, the new ones are kept.

    Returns:
        Batches used, 0 where the old statistics stayed.
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

    Args:
        network: A network in eval mode, which it is again afterwards.
        batches: Batches with ``img`` (batch, 3, height, width). Without any, nothing changes.

    Returns:
        Batches used.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    used = 0
    with torch.no_grad():
        for batch in batches:
            if used == 0:
                for norm in norms:
                    norm.reset_running_stats()
                    # Without momentum BatchNorm keeps the average of all batches it has seen.
                    norm.momentum = None
                    norm.train()
            network(batch["img"])
            used += 1
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
    return used
