"""Step ``probe``: whether targets and names fit a network, before anything is made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prunebench.common.records import Record
from prunebench.config.targets import Goal
from prunebench.steps.events import Emit


class Request(Record):
    """Input of the step: a checkpoint (absolute path), and modules whose output widths stay.

    Attributes:
        round_to: Widths become multiples of it; ``None``: no alignment.
        imgsz: (height, width) of the letterbox in pixels.
    """

    checkpoint: str
    goals: tuple[Goal, ...]
    round_to: int | None
    ignore: tuple[str, ...]
    imgsz: tuple[int, int]


def run(request: Request, workdir: Path, emit: Emit) -> Record:
    """Check the targets that are counted; measured ones are found out by measuring."""
    from prunebench.variants.checkpoint import load_checkpoint
    from prunebench.variants.graph.groups import trace
    from prunebench.variants.graph.surgery import split_c2f
    from prunebench.variants.pruning.allocation import check_goal
    from prunebench.variants.pruning.paths import bundles_of, uniform_path
    from prunebench.variants.pruning.shapes import shapes_of

    network: Any = load_checkpoint(Path(request.checkpoint))
    split_c2f(network)
    graph = trace(network, request.ignore)
    shapes = shapes_of(graph, request.imgsz)
    path = uniform_path(bundles_of(graph.groups, request.round_to))
    for goal in request.goals:
        if not goal.is_measured:
            check_goal(path, shapes, goal)
    return Record()
