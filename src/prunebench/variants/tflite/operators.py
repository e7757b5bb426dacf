"""What each operator of an ONNX file is in a TFLite file.

Only what computes in float32 with shapes known beforehand; a StepError names what is not that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import NodeProto, helper

from prunebench.variants.tflite.windows import (
    LAST,
    average_pool,
    convolution,
    max_pool,
    transposed_convolution,
)
from prunebench.variants.tflite.writing import Order, Writer, plain, unknown

ALONE = {
    **{"Sigmoid": "LOGISTIC", "Relu": "RELU", "HardSwish": "HARD_SWISH", "Tanh": "TANH"},
    **{"Exp": "EXP", "Log": "LOG", "Sqrt": "SQRT", "Cos": "COS", "Sin": "SIN"},
    **{"Neg": "NEG", "Abs": "ABS"},
}
PAIRED = {"Add": "ADD", "Sub": "SUB", "Mul": "MUL", "Div": "DIV"}


def to_tflite(source: Path) -> bytes:
    """The content of a TFLite file that computes what an ONNX file does."""
    writer = Writer(source)
    for node in writer.nodes:
        write = WRITTEN.get(node.op_type)
        if write is None or node.domain not in ("", "ai.onnx"):
            raise unknown(node.op_type)
        settings = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        write(writer, node, **settings)
    return writer.finished()


def _alone(writer: Writer, node: NodeProto) -> None:
    order = writer.order(node.input[0])
    inputs = [writer.stored(node.input[0], order)]
    writer.make(node.output[0], ALONE[node.op_type], inputs, order)


def _leaky_relu(writer: Writer, node: NodeProto, alpha: float = 0.01) -> None:
    order = writer.order(node.input[0])
    inputs, settings = [writer.stored(node.input[0], order)], {"alpha": alpha}
    writer.make(node.output[0], "LEAKY_RELU", inputs, order, "LeakyReluOptions", settings)


def _clip(writer: Writer, node: NodeProto) -> None:
    order = writer.order(node.input[0])
    index = writer.stored(node.input[0], order)
    sizes = [writer.shape(node.output[0])[axis] for axis in order]
    for name, bound in zip(("MAXIMUM", "MINIMUM"), node.input[1:], strict=False):
        if bound:
            inputs = [index, writer.stored(bound)]
            index = writer.operator(name, inputs, sizes, "MaximumMinimumOptions")
    writer.give(node.output[0], order, index)


def _paired(writer: Writer, node: NodeProto) -> None:
    order = writer.order(*node.input)
    inputs = [writer.stored(name, order) for name in node.input]
    kind = f"{node.op_type}Options"
    writer.make(node.output[0], PAIRED[node.op_type], inputs, order, kind)


def _concat(writer: Writer, node: NodeProto, axis: int) -> None:
    order = writer.order(*node.input)
    inputs = [writer.stored(name, order) for name in node.input]
    settings = {"axis": order.index(axis % len(order))}
    writer.make(node.output[0], "CONCATENATION", inputs, order, "ConcatenationOptions", settings)


def _split(writer: Writer, node: NodeProto, axis: int = 0, **_: int) -> None:
    start = 0
    for name in node.output:
        axis %= len(writer.shape(name))
        _cut(writer, node.input[0], name, {axis: start})
        start += writer.shape(name)[axis]


def _slice(writer: Writer, node: NodeProto) -> None:
    starts, _, *rest = (writer.constant(name).tolist() for name in node.input[1:])
    if len(rest) > 1 and {*rest[1]} != {1}:
        raise unknown("Slice in steps")
    shape, firsts = writer.shape(node.input[0]), {}
    for axis, start in zip(rest[0] if rest else range(len(starts)), starts, strict=True):
        length = shape[axis]
        firsts[axis % len(shape)] = max(start + length, 0) if start < 0 else min(start, length)
    _cut(writer, node.input[0], node.output[0], firsts)


def _cut(writer: Writer, source: str, target: str, starts: dict[int, int]) -> None:
    order, shape = writer.order(source), writer.shape(target)
    begins = writer.numbers([starts.get(axis, 0) for axis in order])
    sizes = writer.numbers([shape[axis] for axis in order])
    writer.make(target, "SLICE", [writer.stored(source, order), begins, sizes], order)


def _transpose(writer: Writer, node: NodeProto, perm: Sequence[int]) -> None:
    """Nothing is written: what is there has another name for each of its axes."""
    orders = writer.orders(node.input[0]).items()
    renamed = {tuple([*perm].index(axis) for axis in order): index for order, index in orders}
    writer.rename(node.output[0], renamed)


def _reshape(writer: Writer, node: NodeProto, **_: int) -> None:
    source, target = node.input[0], node.output[0]
    before, after, order = writer.shape(source), writer.shape(target), writer.order(source)
    kept = reshaped(order, before, after)
    if kept is None:
        order, kept = plain(before), plain(after)
    sizes = [after[axis] for axis in kept]
    inputs, settings = [writer.stored(source, order), writer.numbers(sizes)], {"newShape": sizes}
    writer.make(target, "RESHAPE", inputs, kept, "ReshapeOptions", settings)


def reshaped(order: Order, before: Sequence[int], after: Sequence[int]) -> Order | None:
    """The order of a reshaped tensor whose bytes stay where they are, ``None``: there is none.

    Axes are split and joined in blocks of one size each: the axes of a block have to lie side by
    side, in ONNX's order.
    """
    blocks: list[tuple[list[int], list[int]]] = []
    old = new = 0
    while old < len(before) and new < len(after):
        axes, made, size, other = [old], [new], before[old], after[new]
        while size != other:
            if size < other:
                axes.append(axes[-1] + 1)
                size *= before[axes[-1]]
            else:
                made.append(made[-1] + 1)
                other *= after[made[-1]]
        old, new = axes[-1] + 1, made[-1] + 1
        blocks.append((axes, made))
    if not blocks:
        return None
    # What is left over is of size 1.
    blocks[-1][0].extend(range(old, len(before)))
    blocks[-1][1].extend(range(new, len(after)))
    kept, rest = list[int](), [*order]
    while rest:
        axes, made = next(block for block in blocks if rest[0] in block[0])
        if rest[: len(axes)] != axes:
            return None
        kept, rest = kept + made, rest[len(axes) :]
    return tuple(kept)


def _softmax(writer: Writer, node: NodeProto, axis: int = -1) -> None:
    there = writer.order(node.input[0])
    axis %= len(there)
    order = (*(one for one in there if one != axis), axis)
    inputs, settings = [writer.stored(node.input[0], order)], {"beta": 1.0}
    writer.make(node.output[0], "SOFTMAX", inputs, order, "SoftmaxOptions", settings)


def _matmul(writer: Writer, node: NodeProto) -> None:
    left, right = node.input
    target, order = node.output[0], plain(writer.shape(node.output[0]))
    if writer.is_constant(right) and len(writer.shape(right)) == 2:
        weights = writer.numbers(writer.constant(right).T)
        inputs, settings = [writer.stored(left), weights, -1], {"keepNumDims": True}
        kind = "FullyConnectedOptions"
        writer.make(target, "FULLY_CONNECTED", inputs, order, kind, settings)
    else:
        inputs = [writer.stored(left), writer.stored(right)]
        writer.make(target, "BATCH_MATMUL", inputs, order, "BatchMatMulOptions")


def _gemm(
    writer: Writer,
    node: NodeProto,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> None:
    if transA:
        raise unknown("Gemm of a transposed matrix")
    data, weights, *bias = node.input
    kernel = writer.constant(weights) * np.float32(alpha)
    inputs = [writer.stored(data), writer.numbers(kernel if transB else kernel.T)]
    inputs += [writer.numbers(writer.constant(name) * np.float32(beta)) for name in bias]
    order, kind = plain(writer.shape(node.output[0])), "FullyConnectedOptions"
    writer.make(node.output[0], "FULLY_CONNECTED", inputs, order, kind)


def _average_of_all(writer: Writer, node: NodeProto) -> None:
    inputs = [writer.stored(node.input[0], LAST), writer.numbers([1, 2])]
    writer.make(node.output[0], "MEAN", inputs, LAST, "ReducerOptions", {"keepDims": True})


def _resize(writer: Writer, node: NodeProto, mode: bytes = b"nearest", **settings: Any) -> None:
    before, after = writer.shape(node.input[0]), writer.shape(node.output[0])
    grid = [settings.get(f"{name}_mode") for name in ("coordinate_transformation", "nearest")]
    whole = all(new % old == 0 for old, new in zip(before, after, strict=True))
    if mode != b"nearest" or grid != [b"asymmetric", b"floor"] or not whole:
        raise unknown("this Resize")
    inputs = [writer.stored(node.input[0], LAST), writer.numbers(after[2:])]
    kind = "ResizeNearestNeighborOptions"
    writer.make(node.output[0], "RESIZE_NEAREST_NEIGHBOR", inputs, LAST, kind)


WRITTEN: dict[str, Callable[..., None]] = {
    **dict.fromkeys(ALONE, _alone),
    **dict.fromkeys(PAIRED, _paired),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _reshape),
    **{"Conv": convolution, "ConvTranspose": transposed_convolution},
    **{"MaxPool": max_pool, "AveragePool": average_pool, "GlobalAveragePool": _average_of_all},
    **{"Concat": _concat, "Split": _split, "Slice": _slice, "Transpose": _transpose},
    **{"Softmax": _softmax, "MatMul": _matmul, "Gemm": _gemm, "Resize": _resize},
    **{"Clip": _clip, "LeakyRelu": _leaky_relu},
}
