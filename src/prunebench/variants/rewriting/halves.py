"""A convolution whose result is split (C2f, C3k2, C2PSA), as one convolution for each part.

``Split`` does not run in onnxruntime's blocked layout: activations are reordered before it and
after it, 44 times in yolov8n. Parts of their own stay in the layout, and are joined in it. 1.02 to
1.06 times as fast as without this pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prunebench.measuring.onnx_graph import attributes, part_of
from prunebench.variants.rewriting.editing import Graph, Unknown

if TYPE_CHECKING:
    import onnx


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
    if sigmoid is None or sigmoid.input[0] not in product.input:
        raise Unknown
    conv = graph.needed(sigmoid.input[0], "Conv")
    if len(graph.users(conv.output[0])) != 2 or attributes(conv).get("group", 1) != 1:
        raise Unknown
    start = 0
    for index, part in enumerate(split.output):
        end = start + graph.shape(part)[1]
        graph.replace(part, _convolved(graph, conv, index, slice(start, end)))
        start = end


def _convolved(graph: Graph, conv: onnx.NodeProto, index: int, channels: slice) -> str:
    name = f"{conv.name.removesuffix('/Conv')}.{index}"
    stored = [
        graph.store(part_of(tensor, f"half{index}"), graph.constant(tensor)[channels])
        for tensor in conv.input[1:]
    ]
    result = graph.again(conv, f"{name}/Conv", [conv.input[0], *stored])
    gate = graph.add("Sigmoid", f"{name}/Sigmoid", [result])
    return graph.add("Mul", f"{name}/Mul", [result, gate])
