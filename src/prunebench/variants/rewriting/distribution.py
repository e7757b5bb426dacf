"""The distribution of a box's sides (DFL), with its bins on the last axis, as sums of powers.

Ultralytics' head gives each side of each box 16 logits; their softmax, weighted by 0..15, is the
side's length. Exported, the softmax runs over axis 1, for which onnxruntime transposes and back: a
tenth of the time of a pruned network. Here the bins come last, as the reorder out of the blocked
layout gives them for nothing, and products make the sums of the powers and the weighted sums, whose
quotient is the side. 1.07 to 1.23 times as fast as the plain file.

A softmax subtracts the largest logit, so that no power overflows. Here it is the mean of the bins,
which the last convolution's weights can subtract, and which changes a softmax as little. A logit
more than ``MOST`` above the mean is cut, within the convolution: only where two of one side are, is
the side another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from prunebench.measuring.onnx_graph import DFL, attributes
from prunebench.variants.rewriting.editing import Graph, Unknown

if TYPE_CHECKING:
    import onnx

SIDES = 4
MOST = 80.0
"""16 such powers, each weighted by 15, add up to less than float32 holds: 240 e^80 < 2e37."""


def places(graph: Graph) -> Iterator[str]:
    """Every softmax of such a distribution."""
    for node in graph.nodes:
        if node.op_type == "Softmax" and attributes(node).get("axis") == 1:
            weighted = graph.user(node.output[0], "Conv")
            if weighted is not None and DFL in weighted.input[1]:
                yield node.output[0]


def rewrite(graph: Graph, softmax: str) -> None:
    """Rewrite one distribution, from the convolutions that make its logits to the sides."""
    weighted = graph.needed_user(softmax, "Conv")
    sides = graph.needed_user(weighted.output[0], "Reshape")
    node = graph.needed(softmax, "Softmax")
    name = node.name.rpartition("/")[0]
    bins = graph.constant(weighted.input[1]).ravel()
    width = SIDES * bins.size
    shape = graph.store(f"{name}.rows", np.array([-1, width]))
    levels = _levels(graph, node)
    if any(graph.shape(conv.output[0])[1] != width for conv in levels):
        raise Unknown
    limits = [graph.store(f"{name}.{end}", np.array(end, np.float32)) for end in (-MOST, MOST)]
    rows = []
    for index, conv in enumerate(levels):
        _centre(graph, conv, bins.size)
        cut = graph.add("Clip", f"{name}/cut.{index}", [conv.output[0], *limits])
        last = graph.add("Transpose", f"{name}/last.{index}", [cut], perm=[0, 2, 3, 1])
        rows.append(graph.add("Reshape", f"{name}/rows.{index}", [last, shape]))
    logits = graph.add("Concat", f"{name}/logits", rows, axis=0)
    powers = graph.add("Exp", f"{name}/powers", [logits])
    columns = graph.add("Transpose", f"{name}/columns", [powers], perm=[1, 0])
    sums: list[str] = []
    for what, weights in ((weighted.input[1], bins), (f"{name}.ones", np.ones_like(bins))):
        each = graph.store(what, np.kron(np.eye(SIDES, dtype=np.float32), weights))
        sums.append(graph.add("MatMul", f"{name}/sums.{len(sums)}", [each, columns]))
    lengths = graph.add("Div", f"{name}/lengths", sums)
    flat = graph.store(f"{name}.flat", np.array(graph.shape(sides.output[0])))
    graph.replace(sides.output[0], graph.add("Reshape", f"{name}/flat", [lengths, flat]))


def _levels(graph: Graph, softmax: onnx.NodeProto) -> list[onnx.NodeProto]:
    """The convolutions whose results are flattened, joined, split into bins and transposed."""
    transposed = graph.needed(softmax.input[0], "Transpose")
    if attributes(transposed)["perm"] != [0, 2, 1, 3]:
        raise Unknown
    joined = graph.needed(graph.needed(transposed.input[0], "Reshape").input[0], "Concat")
    flattened = [graph.needed(name, "Reshape") for name in joined.input]
    return [graph.needed(node.input[0], "Conv") for node in flattened]


def _centre(graph: Graph, conv: onnx.NodeProto, bins: int) -> None:
    """Let a convolution subtract the mean of a side's bins."""
    weight, bias = (graph.constant(name).astype(np.float64) for name in conv.input[1:])
    for index, values in enumerate((weight, bias), start=1):
        sides = values.reshape(SIDES, bins, -1)
        centred = (sides - sides.mean(axis=1, keepdims=True)).reshape(values.shape)
        name = conv.input[1] if index == 1 else f"{conv.input[1]}.bias"
        conv.input[index] = graph.store(name, centred.astype(np.float32))
