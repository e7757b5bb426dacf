"""The decoding of boxes as one product and one sum.

From the distances of its four sides and its anchor, a box's centre and size are made by a dozen
small operators that slice, add, halve and join. All of them are linear, so they are tried on the
four unit distances, and one 4 x 4 product, the strides and an offset for each anchor replace them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from prunebench.variants.rewriting.editing import Graph, Unknown

SIDES = 4


def places(graph: Graph) -> Iterator[str]:
    """The distances: what two slices of two rows each are taken of, behind everything trained."""
    for node in graph.nodes:
        if node.op_type == "Slice":
            users = graph.users(node.input[0])
            shape = graph.shape(node.input[0])
            first = users and users[0] is node
            if first and len(users) == 2 and len(shape) == 3 and shape[1] == SIDES:
                yield node.input[0]


def rewrite(graph: Graph, distances: str) -> None:
    """Rewrite one decoding, up to the product with the strides, which ends it."""
    boxes = _end(graph, distances)
    anchors = graph.shape(distances)[2]
    units = np.repeat(np.eye(SIDES, dtype=np.float32)[..., None], anchors, axis=2)
    origin = graph.evaluated(distances, boxes, 0 * units[:1])
    slopes = np.concatenate([graph.evaluated(distances, boxes, unit[None]) for unit in units])
    slopes -= origin  # (distance, row of the box, anchor)
    strides = np.abs(slopes).max(axis=(0, 1))
    product = (slopes / strides)[..., :1]
    probe = np.random.default_rng(0).random(origin.shape, dtype=np.float32)
    expected = np.einsum("ira,ia->ra", slopes, probe[0])[None] + origin
    found = graph.evaluated(distances, boxes, probe)
    if not np.array_equal(slopes, product * strides) or not np.allclose(found, expected, atol=1e-3):
        raise Unknown
    name = f"{boxes.removesuffix('_output_0')}/"
    stored = {"product": product[..., 0].T, "strides": strides, "origin": origin}
    constants = {
        what: graph.store(f"{name}{what}", value.astype(np.float32))
        for what, value in stored.items()
    }
    cells = graph.add("MatMul", f"{name}MatMul", [constants["product"], distances])
    scaled = graph.add("Mul", f"{name}Mul", [cells, constants["strides"]])
    graph.replace(boxes, graph.add("Add", f"{name}Add", [scaled, constants["origin"]]))


def _end(graph: Graph, distances: str) -> str:
    """The boxes: the first product with a constant behind the distances."""
    waiting = [distances]
    while waiting:
        for node in graph.users(waiting.pop(0)):
            if node.op_type == "Mul" and graph.constant(node.input[1]).size:
                return str(node.output[0])
            waiting += node.output
    raise Unknown
