"""Widths in whole blocks of channels, as the kernels of a processor like them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from prunebench.config.pruning import PruneConfig
from prunebench.config.sections import LatencyConfig
from prunebench.measuring.host.block import (
    Block,
    Numbers,
    block_request,
    measure_block,
    rows_of_convolutions,
)
from prunebench.measuring.host.remembered import remembered
from prunebench.measuring.remote.there import There, host_of
from prunebench.steps.events import stage

if TYPE_CHECKING:
    from prunebench.variants.graph.groups import ChannelGroup


def block_for(
    settings: PruneConfig, latency: LatencyConfig, there: There | None = None
) -> Block | None:
    """The block of the host that counts, where widths are rounded to it: a file's are as given.

    That of INT8 kernels where every target is one of an INT8 file.
    """
    if settings.round_to != "auto" or settings.widths is not None:
        return None
    int8 = all(goal.int8 for goal in settings.goals)
    numbers: Numbers = "int8" if int8 else "float"
    if there is None:
        return measure_block(latency, numbers)
    from prunebench.measuring.remote.asking import device_at

    def measured() -> Block:
        with device_at(there, latency.model_dump(mode="json"), stage) as device:
            stage(f"{there.name}: timing convolutions for the block of the kernels")
            return Block(numbers=numbers, **device.rows(rows_of_convolutions(numbers)))

    request = block_request(latency, numbers)
    found = remembered("block", request, host_of(there), Block, measured, lambda one: one.settled)
    return found.model_copy(update={"there": there.name})


def round_to_of(settings: PruneConfig, block: Block | None) -> int | None:
    """What widths are multiples of, ``None``: any width; ``block`` is the ``block_for`` them."""
    if settings.round_to != "auto":
        return settings.round_to
    if settings.widths is not None:
        return None
    if block is None:
        raise ValueError("the block was not measured")
    return block.channels


def aligned_width(width: int, ratio: float, round_to: int | None) -> int:
    """Channels that stay when at least ``ratio`` of ``width`` is removed.

    Args:
        round_to: The result is rounded down to a multiple of it, but never below one block;
            ``None``: any width of at least one channel.

    Returns:
        1 to ``width``. A layer that is not wider than a block keeps its width.
    """
    # Rounding first: 20 * (1 - 0.15) is 17, not the 16.999... that floats make of it.
    wanted = math.floor(round(width * (1 - ratio), 9))
    if round_to is None:
        return max(wanted, 1)
    return min(width, max(wanted // round_to * round_to, round_to))


def uniform_width(group: ChannelGroup, ratio: float, round_to: int | None) -> int:
    """The ``aligned_width`` of a group, or its number of whole heads nearest to the share."""
    if group.grain == 1:
        return aligned_width(group.width, ratio, round_to)
    step = group.step(round_to)
    heads = math.floor(round(group.width * (1 - ratio) / step, 9) + 0.5)
    return min(group.width, max(heads, 1) * step)
