"""The step ``smaller``: which smaller stock network a pruned one has to beat, and its budget.

Ultralytics multiplies every layer's channels by the width of the network's size and rounds them
up to a multiple of 8 (``parse_model``). The widest layer has ``max_channels`` of them, so
every network that a width can give is given by a multiple of 8 / ``max_channels``.
"""

from __future__ import annotations

import bisect
from pathlib import Path
from typing import Any, Final

from prunebench.common.errors import StepError
from prunebench.common.records import Record
from prunebench.steps.events import Emit, Stage
from prunebench.variants.checkpoint import inspect_checkpoint
from prunebench.variants.described import build_network, stock_description
from prunebench.variants.structure import structure_of

STEP: Final = "smaller"
CHANNELS: Final = 8  # channels are rounded up to a multiple of this


class Request(Record):
    """Input of the step.

    Attributes:
        baseline: Absolute path of the unpruned checkpoint.
        description: Ultralytics' name of the stock network ("yolov8n.yaml").
        macs: MACs its width is lowered to, ``None``: it is taken as it is.
        imgsz: (height, width) in pixels the MACs are counted at.
    """

    baseline: str
    description: str
    macs: int | None
    classes: int
    imgsz: tuple[int, int]


class Smaller(Record):
    """The network and the epochs that the baseline was trained for.

    ``width`` ``None`` is the description's own, ``epochs`` where the checkpoint does not say.
    """

    width: float | None
    epochs: int | None


def run(request: Request, workdir: Path, emit: Emit) -> Smaller:
    """Look up the baseline's epochs and search the width."""
    width = None
    if request.macs is not None:
        emit(Stage(what=f"searching a width with {request.macs / 1e6:.0f} M MACs"))
        width = lower_width(request.description, request.macs, request.classes, request.imgsz)
    epochs = inspect_checkpoint(Path(request.baseline)).epochs
    return Smaller(width=width, epochs=epochs)


def lower_width(description: str, macs: int, classes: int, imgsz: tuple[int, int]) -> float:
    """The largest width multiplier, at most the description's own, whose network has these MACs.

    ``StepError`` where even the narrowest has more. Arguments are as in ``Request``.
    """
    scaled = stock_description(description)
    _, own, most = scaled["scales"][scaled["scale"]]
    step: float = CHANNELS / most

    def counted(steps: int) -> int:
        return macs_of(stock_description(description, steps * step), classes, imgsz)

    steps = range(1, round(own / step) + 1)
    fitting = bisect.bisect_right(steps, macs, key=counted)
    if fitting == 0:
        raise StepError(
            STEP,
            f"even the narrowest {Path(description).stem} has {counted(1) / 1e6:.1f} M MACs, the "
            f"pruned network {macs / 1e6:.1f} M",
        )
    return fitting * step


def macs_of(description: dict[str, Any], classes: int, imgsz: tuple[int, int]) -> int:
    """MACs at (height, width) pixels of the network that a ``stock_description`` builds."""
    network = build_network(description, {index: str(index) for index in range(classes)})
    return structure_of(network, imgsz).macs
