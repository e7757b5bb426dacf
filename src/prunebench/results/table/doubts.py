"""What a table from elsewhere does not say of itself: one network twice, noise, misprints."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from prunebench.common.records import Record
from prunebench.common.text import listed

if TYPE_CHECKING:
    import pandas as pd

ROUNDED_PERCENT = 1.5
"""A printed efficiency may differ this much from its own columns, rounded before printing."""


MOST_NAMES = 12


class OtherThreads(Record):
    """Rows of other thread counts than the first are not ranked."""

    kind: Literal["other threads"] = "other threads"
    left_out: tuple[str, ...]


class OneNetwork(Record):
    """Variants of one network; ``None``: of an unknown one. Fewest and most of both figures."""

    kind: Literal["one network"] = "one network"
    variants: tuple[str, ...]
    network: str | None
    parameters: tuple[int, int]
    fps: tuple[float, float]


class TableNoise(Record):
    """The table's noise, a factor of FPS; ``None`` where it cannot be told."""

    kind: Literal["noise"] = "noise"
    factor: float | None


class Restored(Record):
    """Variants called pruned that are the unpruned network, and the parameters of those pruned."""

    kind: Literal["restored"] = "restored"
    variants: tuple[str, ...]
    pruned: dict[str, int]


class Misprint(Record):
    """A printed efficiency that is off what the row's own columns give."""

    kind: Literal["misprint"] = "misprint"
    variant: str
    printed: float
    computed: float
    off_percent: float


TableDoubt = OtherThreads | OneNetwork | TableNoise | Restored | Misprint


def doubts_of(rows: pd.DataFrame, noise: float | None) -> Iterator[TableDoubt]:
    """The doubts about the rows of a table whose FPS have this factor of noise, if any is known."""
    for name, alike in rows.groupby("network", sort=False):
        if len(alike) > 1:
            yield OneNetwork(
                variants=tuple(alike["variant"]),
                network=None if (alike["stock"] == "").all() else str(name),
                parameters=(int(alike["params"].min()), int(alike["params"].max())),
                fps=(float(alike["fps"].min()), float(alike["fps"].max())),
            )
    if rows["fps_low"].isna().any():
        yield TableNoise(factor=noise)
    is_stock = rows["stock"] != ""
    restored = tuple(rows["variant"][is_stock & rows["called_pruned"]])
    if restored:
        others = rows[~is_stock & (rows["called_pruned"] | (rows["strategy"] != ""))]
        counts = (int(count) for count in others["params"])
        yield Restored(variants=restored, pruned=dict(zip(others["variant"], counts, strict=True)))
    for row in rows[rows["printed"].notna()].to_dict("records"):
        printed, own = row["printed"], row["efficiency"]
        off = 100 * (printed / own - 1) if own > 0 else math.inf
        if printed != own and abs(off) > ROUNDED_PERCENT:
            yield Misprint(variant=row["variant"], printed=printed, computed=own, off_percent=off)


def _some(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMES
    return listed([*names[:MOST_NAMES], f"{more:,} more"] if more > 0 else list(names))


def doubt_sentence(doubt: TableDoubt) -> str:
    """What a table does not say about itself, in words."""
    match doubt:
        case OtherThreads():
            return f"Only the first thread count is ranked; left out: {listed(doubt.left_out)}."
        case OneNetwork():
            few, many = doubt.parameters
            if doubt.network is None:
                what = f"have the same parameter count ({few:,}), so presumably the same network"
            else:
                what = f"are the same network, {doubt.network}"
                if few < many:
                    what += f" ({many:,} parameters, or {few:,} with BatchNorm folded)"
            return (
                f"{_some(doubt.variants)} {what}: their speed differences "
                f"({doubt.fps[0]:g} to {doubt.fps[1]:g} FPS) cannot come from the models."
            )
        case TableNoise(factor=None):
            return (
                "The table has no intervals and no network twice: the order is as given, and how "
                "much of it is noise cannot be told."
            )
        case TableNoise():
            return (
                f"FPS figures of the same network differ by up to a factor {doubt.factor:.2f}: "
                "that is this table's noise. Smaller differences, and those inside one network, "
                "are ties."
            )
        case Restored():
            verb = "is" if len(doubt.variants) == 1 else "are"
            text = (
                f"{_some(doubt.variants)} {verb} described as pruned, but {verb} the unpruned "
                "network: retraining restored it and the pruning is lost."
            )
            kept = [
                f"{n} ({count:,} parameters, no stock network)" for n, count in doubt.pruned.items()
            ]
            if kept:
                text += f" Only {_some(kept)} {'is' if len(kept) == 1 else 'are'} still pruned."
            return text
        case Misprint():
            return (
                f"The printed efficiency {doubt.printed:g} of {doubt.variant} is "
                f"{doubt.off_percent:+.1f} % off its own columns ({doubt.computed:.2f})."
            )
