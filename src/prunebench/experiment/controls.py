"""The cheap alternatives that a pruned variant has to beat, as far as they are known beforehand.

``int8``: the unpruned model in INT8. ``resolution``: it at the next lower size. ``smaller``: a
smaller stock network, trained for as many epochs as baseline and retraining took together.
``plain-export``: it as Ultralytics exports it. ``other-head``: it with the head that
``export.head`` does not name, of a network that has two.
``trained-size``: the unpruned model at the size it was trained at, where the letterbox is another.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

from prunebench.common.errors import ConfigError
from prunebench.common.records import Record, Structure
from prunebench.config.exporting import ExportHead
from prunebench.config.sections import STRIDE

SCALES = ("n", "s", "m", "l", "x")  # Ultralytics' sizes of a network, the smallest first.
STOCK_NAME = re.compile(r"(yolov?\d+)([nsmlx])")


class StockNetwork(Record):
    """The stock network that is the control ``smaller``, by Ultralytics' name ("yolov8n.yaml").

    ``narrowed``: its width is lowered to the MACs of the pruned network, as no size is smaller.
    """

    description: str
    narrowed: bool


def lower_letterbox(hw: tuple[int, int], stride: int = STRIDE) -> tuple[int, int] | None:
    """The next lower (height, width): the longer side a stride shorter, ``None`` where one has one.

    The other side is the multiple of the stride nearest to the same aspect, of two the lower one.
    """
    steps = [side // stride for side in hw]
    if min(steps) == 1:
        return None
    longest = max(steps)
    height, width = (math.ceil(step * (longest - 1) / longest - 0.5) for step in steps)
    return stride * height, stride * width


def trained_letterbox(
    hw: tuple[int, int], side: int, stride: int = STRIDE
) -> tuple[int, int] | None:
    """The letterbox of the aspect of (height, width) whose longer side is the training's ``side``.

    The other side is the nearest multiple of the stride, of two the higher one; ``None``: ``hw``
    is as long as the training's images.
    """
    longest, steps = math.ceil(side / stride), [side // stride for side in hw]
    if max(steps) == longest:
        return None
    height, width = (max(1, math.floor(step * longest / max(steps) + 0.5)) for step in steps)
    return stride * height, stride * width


def other_head(head: ExportHead) -> ExportHead:
    """The other one of a network's two heads."""
    return "one_to_many" if head == "one_to_one" else "one_to_one"


def stock_name(model: str, structure: Structure | None) -> str | None:
    """Stock network a model is ("yolov8n"), if any; no ``structure``: ``model`` describes it."""
    if structure is None:
        return Path(model).stem
    return None if structure.stock is None else structure.stock.split(",")[0]


def smaller_network(model: str, structure: Structure | None) -> StockNetwork:
    """The next smaller stock network of the family; ConfigError where the model is none."""
    name = stock_name(model, structure)
    match = None if name is None else STOCK_NAME.fullmatch(name)
    if match is None:
        kind = f"{name} is no stock detection network" if name else "the model is no stock network"
        raise ConfigError(
            f"{kind}, so there is no next smaller one to compare with",
            where="controls",
            fix="leave smaller out",
        )
    family, scale = match.groups()
    size = SCALES.index(scale)
    return StockNetwork(description=f"{family}{SCALES[max(0, size - 1)]}.yaml", narrowed=size == 0)
