"""The block of channels that widths are aligned to."""

from __future__ import annotations

from collections.abc import Mapping

from prunebench.config.sections import PruneConfig
from prunebench.measuring.host.fingerprint import kernel_block

BLOCKS: Mapping[str, int] = {"avx512": 16, "avx2": 8, "arm": 8}


def round_to_of(settings: PruneConfig) -> int | None:
    """What widths are multiples of, once the kernels they are aligned for are known."""
    if settings.round_to != "auto":
        return settings.round_to
    return BLOCKS.get(settings.align_for) or kernel_block()
