"""Reading an exported ONNX graph: its convolutions, its decoding, what computes with integers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

OLDEST_OPSET = 13  # The first in which QuantizeLinear has an axis, for one scale per channel.
DEQUANTIZED = "_DequantizeLinear_Output"  # Ends the name of what onnxruntime made of integers.
DFL = ".dfl."  # In the name of the weight that turns a box edge's distribution into its place.

GATHERING = ("Clip", "Concat", "Reshape", "Transpose")
"""Operators that move the predictions' logits without a new value, but for a cut."""

PART = "#"  # Before what part of a module's tensor it is, where rewriting has cut a convolution.


def module_of(weight: str) -> str:
    """Module a convolution's weight belongs to, by the weight's name in a float or INT8 file."""
    return weight.removesuffix(DEQUANTIZED).partition(PART)[0].removesuffix(".weight")


def part_of(tensor: str, part: str) -> str:
    """Name of a part of a module's weight or bias."""
    return f"{tensor}{PART}{part}"


def is_quantized(model: onnx.ModelProto) -> bool:
    """Whether a node of the file computes with integers in place of floats."""
    marks = ("QuantizeLinear", "DequantizeLinear", "QLinear", "Integer")
    return any(mark in node.op_type for node in model.graph.node for mark in marks)


def convolutions(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Every convolution of a file, transposed ones too, in the graph's order."""
    return [node for node in model.graph.node if is_conv(node)]


def integer_convolutions(model: onnx.ModelProto) -> frozenset[str]:
    """Names of the convolutions whose image, weight and result are 8-bit integers."""
    nodes = model.graph.node
    made = {
        output for node in nodes if node.op_type == "DequantizeLinear" for output in node.output
    }
    taken = {node.input[0] for node in nodes if node.op_type == "QuantizeLinear"}
    return frozenset(
        node.name
        for node in convolutions(model)
        if made.issuperset(node.input[:2]) and node.output[0] in taken
    )


def integer_modules(model: onnx.ModelProto) -> frozenset[str]:
    """Modules of which every convolution is such a one; rewriting cuts some into several."""
    integers = integer_convolutions(model)
    nodes = convolutions(model)
    others = {module_of(node.input[1]) for node in nodes if node.name not in integers}
    return frozenset(module_of(node.input[1]) for node in nodes) - others


def decoding(model: onnx.ModelProto) -> frozenset[str]:
    """Names of the nodes behind the last trained convolution of every branch.

    They make boxes in pixels and scores of 0..1: on one scale of 8 bits all scores were the same.
    """
    makers = makers_of(model)
    found: set[str] = set()
    waiting = [output.name for output in model.graph.output]
    while waiting:
        node = makers.get(waiting.pop())
        if node is None or node.name in found or (is_conv(node) and DFL not in node.input[1]):
            continue
        found.add(node.name)
        waiting.extend(node.input)
    return frozenset(found)


def gathering(model: onnx.ModelProto) -> frozenset[str]:
    """Names of the first nodes of the decoding: they move what the last convolutions made.

    They cut, reorder and join values, and make none, so that they can do it in 8 bits.
    """
    behind, found = decoding(model), set[str]()
    makers = makers_of(model)
    for node in model.graph.node:
        if node.name in behind and node.op_type in GATHERING:
            made_by = [makers[name] for name in node.input if name in makers]
            if made_by and all(is_conv(one) or one.name in found for one in made_by):
                found.add(node.name)
    return frozenset(found)


def makers_of(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """Tensor to the node that makes it."""
    return {output: node for node in model.graph.node for output in node.output}


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes by name."""
    import onnx

    return {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}


def is_conv(node: onnx.NodeProto) -> bool:
    """Whether a node is a convolution, transposed or not."""
    return node.op_type in ("Conv", "ConvTranspose")
