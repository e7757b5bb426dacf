"""Widths in whole blocks of channels, as the kernels of a processor like them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from prunebench.config.pruning import PruneConfig
from prunebench.measuring.host.fingerprint import kernel_block

BLOCKS: Mapping[str, int] = {"avx512": 16, "avx2": 8, "arm": 8}


def round_to_of(settings: PruneConfig) -> int | None:
    """What widths are multiples of, once the kernels they are aligned for are known."""
    if settings.round_to != "auto":
        return settings.round_to
    return BLOCKS.get(settings.align_for) or kernel_block()


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
