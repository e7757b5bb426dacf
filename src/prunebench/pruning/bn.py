"""Re-estimation of BatchNorm statistics: pruning changes what every later layer sees."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from prunebench.pruning.batches import Batch


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
