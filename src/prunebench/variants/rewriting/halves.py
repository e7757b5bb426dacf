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

ONE_OPERATOR = ("Relu", "HardSwish")
"""Activations that are not the two of SiLU."""

HALVES = FIRST, SECOND = "half0", "half1"


def places(graph: Graph) -> Iterator[str]:
    """What is split into channels right behind an activation."""
    for node in graph.nodes:
        channels = node.op_type == "Split" and attributes(node).get("axis") == 1
        made = (graph.maker(node.input[0], kind) for kind in ("Mul", *ONE_OPERATOR))
        if channels and any(made):
            yield node.input[0]


def rewrite(graph: Graph, activated: str) -> None:
    """Rewrite one convolution, its activation and the split."""
    split = graph.needed_user(activated, "Split")
    one = next(filter(None, (graph.maker(activated, kind) for kind in ONE_OPERATOR)), None)
    gate = one or _gate_of(graph, graph.needed(activated, "Mul"))
    conv = graph.needed(gate.input[0], "Conv")
    users = 1 if one else 2
    if len(graph.users(conv.output[0])) != users or attributes(conv).get("group", 1) != 1:
        raise Unknown
    if len(split.output) != 2:
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
        made = graph.again(gate, f"{name}/{gate.op_type}", [image])
        graph.replace(result, made if one else graph.add("Mul", f"{name}/Mul", [image, made]))


def _gate_of(graph: Graph, product: onnx.NodeProto) -> onnx.NodeProto:
    """The Sigmoid of a SiLU."""
    sigmoid = next(filter(None, (graph.maker(n, "Sigmoid") for n in product.input)), None)
    if sigmoid is None or sigmoid.input[0] not in product.input:
        raise Unknown
    return sigmoid


def undo(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with both halves' channels in the first one's place, split behind its activation.

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
        base, found, kind = name.rpartition(f".{FIRST}/")
        if found and kind in ("Mul", *ONE_OPERATOR):
            halves = (whole, made[name.replace(FIRST, SECOND)])
            sizes = np.array([graph.shape(half)[1] for half in halves])
            if _joined_whole(graph, halves, whole):
                ends = [np.array([end]) for end in (sizes[0], sizes.sum(), 1)]
                known = [
                    graph.store(f"{base}.{what}", end)
                    for what, end in zip(("from", "to", "axis"), ends, strict=True)
                ]
                graph.replace(halves[1], graph.add("Slice", f"{base}/Slice", [whole, *known]))
                continue
            parts = [f"{base}/{half}" for half in HALVES]
            for half, part in zip(halves, parts, strict=True):
                graph.replace(half, part)
            given = [whole, graph.store(f"{base}.sizes", sizes)]
            split = helper.make_node("Split", given, parts, name=f"{base}/Split", axis=1)
            graph.nodes.append(split)
    return graph.finished()


def _joined_whole(graph: Graph, halves: tuple[str, str], whole: str) -> bool:
    """Let what joins both halves again, side by side, take the whole; whether there is such."""
    joined = graph.user(halves[0], "Concat")
    if joined is None or attributes(joined)["axis"] != 1 or halves[1] not in joined.input:
        return False
    taken = list(joined.input)
    place = taken.index(halves[0])
    if taken[place : place + 2] != list(halves):
        return False
    joined.input[:] = [*taken[:place], whole, *taken[place + 2 :]]
    return True
