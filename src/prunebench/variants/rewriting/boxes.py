"""Boxes from the lengths of their sides, as one product, one scaling and one sum.

Ultralytics' head cuts the lengths into those left of and above an anchor point and those right of
and below it, takes and adds them, and makes middle and size of the corners: nine small operators.
Middle and size are sums of lengths, and of the anchor point, which a constant has in pixels. What
the operators cost is the time to start them. With the logits of an INT8 file gathered as integers
it made such files of pruned networks 1.01 to 1.04 times as fast at 96x160.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from prunebench.measuring.onnx_graph import attributes
from prunebench.variants.rewriting.editing import Graph, Unknown

MIDDLE_AND_SIZE = np.array(
    [[-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5], [1, 0, 1, 0], [0, 1, 0, 1]], np.float32
)
"""Rows: middle and size along x and y; columns: lengths to the left, top, right and bottom."""


def places(graph: Graph) -> Iterator[str]:
    """What joins the middles and sizes of boxes."""
    for node in graph.nodes:
        if node.op_type == "Concat" and attributes(node)["axis"] == 1 and len(node.input) == 2:
            middle, size = node.input
            if graph.maker(middle, "Div") is not None and graph.maker(size, "Sub") is not None:
                yield node.output[0]


def rewrite(graph: Graph, boxes: str) -> None:
    """Rewrite the boxes of one head, from the lengths to pixels."""
    joined = graph.needed(boxes, "Concat")
    scaled = graph.needed_user(boxes, "Mul")
    half = graph.needed(joined.input[0], "Div")
    both = graph.needed(half.input[0], "Add")
    size = graph.needed(joined.input[1], "Sub")
    first, last = graph.needed(both.input[0], "Sub"), graph.needed(both.input[1], "Add")
    if list(size.input) != [last.output[0], first.output[0]]:
        raise Unknown
    # The exporter keeps the anchor points once for both corners, or where they are many, twice.
    anchors, others = (graph.constant(node.input[0]) for node in (first, last))
    strides = graph.constant(scaled.input[1])
    halves = [graph.needed(node.input[1], "Slice") for node in (first, last)]
    lengths = halves[0].input[0]
    if not (
        np.array_equal(anchors, others)
        and halves[1].input[0] == lengths
        and [_ends(graph, list(node.input)) for node in halves] == [(0, 2, 1), (2, 4, 1)]
        and graph.constant(half.input[1]).ravel().tolist() == [2]
        and anchors.size
        and strides.size == anchors.shape[-1]
        and graph.shape(lengths) == (1, 4, strides.size)
    ):
        raise Unknown
    name = joined.name.rpartition("/")[0] + "/boxes"
    points = np.zeros((1, 4, strides.size), np.float32)
    points[:, :2] = anchors * strides.reshape(1, 1, -1)
    weights = graph.store(f"{name}.weights", MIDDLE_AND_SIZE)
    mixed = graph.add("MatMul", f"{name}/MatMul", [weights, lengths])
    pixels = graph.add("Mul", f"{name}/Mul", [mixed, scaled.input[1]])
    moved = graph.add("Add", f"{name}/Add", [pixels, graph.store(f"{name}.points", points)])
    graph.replace(scaled.output[0], moved)


def _ends(graph: Graph, inputs: list[str]) -> tuple[int, ...]:
    """First, behind last, and axis of a slice."""
    known = [graph.constant(name).ravel().tolist() for name in inputs[1:4]]
    if any(len(one) != 1 for one in known):
        raise Unknown
    return tuple(int(one[0]) for one in known)
