"""How wide a layer may become."""

from __future__ import annotations

import math
from collections.abc import Iterable

from prunebench.variants.graph.groups import ChannelGroup


def aligned_width(width: int, ratio: float, round_to: int | None) -> int:
    """Channels that stay when at least ``ratio`` of ``width`` is removed.

    Args:
        width: Channels now.
        ratio: Share to remove, 0 < ratio < 1.
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


def uniform_widths(
    groups: Iterable[ChannelGroup], ratio: float, round_to: int | None
) -> dict[str, int]:
    """The same ratio for every group; groups of one bundle end equally wide.

    Returns:
        Root of a group to the channels that stay.
    """
    return {group.root: aligned_width(group.width, ratio, round_to) for group in groups}
