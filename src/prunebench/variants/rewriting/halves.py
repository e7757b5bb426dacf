"""A convolution whose result is split (C2f, C3k2, C2PSA), as one convolution for each half.

``Split`` does not run in onnxruntime's blocked layout: activations are reordered before it and
after it, 44 times in yolov8n. Halves of their own stay in the layout, and are joined in it. 1.02 to
1.06 times as fast as without this pass.

Integers have no such layout, and each half costs conversions around a SiLU of its own: for an INT8
file ``undo`` makes the convolutions whole, 1.02 times as fast at 96x160 and as fast at 192x320.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from prunebench.measuring.onnx_graph import PART, attributes, is_conv, part_of
from prunebench.variants.rewriting.editing import Graph, Unknown

if TYPE_CHECKING:
    import onnx

HALVES = FIRST, SECOND = "half0", "half1"


def places(graph: Graph) -> Iterator[str]:
    """What is split into channels right behind an activation."""
    for node in graph.nodes:
        channels = node.op_type == "Split" and attributes(node).get("axis") == 1
        if channels and graph.maker(node.input[0], "Mul") is not None:
            yield node.input[0]


def rewrite(graph: Graph, activated: str) -> None:
    """Rewrite one convolution, its SiLU and the split."""
    split = graph.needed_user(activated, "Split")
    product = graph.needed(activated, "Mul")
    sigmoid = next(filter(None, (graph.maker(n, "Sigmoid") for n in product.input)), None)
    if sigmoid is None or sigmoid.input[0] not in product.input or len(split.output) != 2:
        raise Unknown
    conv = graph.needed(sigmoid.input[0], "Conv")
    if len(graph.users(conv.output[0])) != 2 or attributes(conv).get("group", 1) != 1:
        raise Unknown
    middle = graph.shape(split.output[0])[1]
    channels = (slice(middle), slice(middle, None))
    for result, half, own in zip(split.output, HALVES, channels, strict=True):
        name = f"{conv.name.removesuffix('/Conv')}.{half}"
        stored = [
            graph.store(part_of(tensor, half), graph.constant(tensor)[own])
            for tensor in conv.input[1:]
        ]
        image = graph.again(conv, f"{name}/Conv", [conv.input[0], *stored])
        gate = graph.add("Sigmoid", f"{name}/Sigmoid", [image])
        graph.replace(result, graph.add("Mul", f"{name}/Mul", [image, gate]))


def undo(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with both halves' channels in the first one's place, split behind its SiLU.

    All that lies between takes any number of channels.
    """
    from onnx import helper

    graph = Graph(model)
    mark = f"{PART}{FIRST}"
    for conv in (node for node in graph.nodes if is_conv(node) and mark in node.input[1]):
        for index, name in enumerate(conv.input[1:], start=1):
            both = [graph.constant(one) for one in (name, name.replace(FIRST, SECOND))]
            conv.input[index] = graph.store(name.replace(mark, ""), np.concatenate(both))
    made = {node.name: node.output[0] for node in graph.nodes}
    for name, whole in made.items():
        if name.endswith(f".{FIRST}/Mul"):
            halves = (whole, made[name.replace(FIRST, SECOND)])
            base = name.removesuffix(f".{FIRST}/Mul")
            sizes = np.array([graph.shape(half)[1] for half in halves])
            parts = [f"{base}/{half}" for half in HALVES]
            for half, part in zip(halves, parts, strict=True):
                graph.replace(half, part)
            given = [whole, graph.store(f"{base}.sizes", sizes)]
            split = helper.make_node("Split", given, parts, name=f"{base}/Split", axis=1)
            graph.nodes.append(split)
    return graph.finished()
