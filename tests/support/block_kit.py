"""What convolutions of 33 to 48 channels took: microseconds on a CPU with AVX-512 and VNNI."""

from __future__ import annotations

from collections.abc import Sequence

from prunebench.measuring.host.block import WIDTHS, Block, Numbers


def block(
    numbers: Numbers, microseconds: Sequence[float], padded: dict[int, int] | None = None
) -> Block:
    return Block(
        numbers=numbers,
        microseconds=dict(zip(WIDTHS, microseconds, strict=True)),
        padded=padded or {},
        turns=83,
        settled=True,
    )


# fmt: off
BLOCKED = block("float", (
    365, 376, 394, 447, 449, 462, 478, 444, 513, 524, 567, 449, 607, 622, 639, 447,
), {36: 48, 40: 48, 44: 48, 48: 48})
INT8 = block("int8", (
    148, 153, 158, 110, 161, 166, 169, 119, 173, 180, 201, 130, 204, 209, 212, 138,
))
# With the session option graph_level: extended, which blocks nothing, as on ARM.
PLAIN = block("float", (
    342.57, 354.29, 372.64, 387.86, 421.90, 435.39, 452.41, 462.19,
    487.45, 497.65, 536.30, 552.88, 566.52, 583.10, 605.30, 620.40,
))
# fmt: on
