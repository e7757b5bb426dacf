"""Convolutions and poolings in a TFLite file: what moves a window over a map, channels last."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from onnx import NodeProto

from prunebench.variants.tflite.writing import Order, Writer, unknown

LAST: Order = (0, 2, 3, 1)
"""The order of an image's or a map's axes."""

LOWEST = float(np.finfo(np.float32).min)


def convolution(writer: Writer, node: NodeProto, group: int = 1, **how: Any) -> None:
    """Of two dimensions, depthwise where every channel is a group."""
    data, weights, *bias = node.input
    kernel, channels = writer.constant(weights), writer.shape(data)[1]
    if kernel.ndim != 4:
        raise unknown(f"a convolution of {kernel.ndim - 2} dimensions")
    index, settings = _window(writer, node, kernel.shape[2:], 0.0, **how)
    vertical, horizontal = how.get("dilations", (1, 1))
    settings |= {"dilationHFactor": vertical, "dilationWFactor": horizontal}
    depthwise = group == channels > 1
    if depthwise:
        settings["depthMultiplier"] = len(kernel) // channels
    name = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    kind = "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions"
    moved = kernel.transpose((1, 2, 3, 0) if depthwise else LAST)
    offsets = writer.constant(bias[0]) if bias else np.zeros(len(kernel), np.float32)
    inputs = [index, writer.numbers(moved), writer.numbers(offsets)]
    writer.make(node.output[0], name, inputs, LAST, kind, settings)


def transposed_convolution(writer: Writer, node: NodeProto, group: int = 1, **how: Any) -> None:
    """One whose windows lie side by side, so that nothing is padded, cut or added up."""
    data, weights, *bias = node.input
    kernel, shape = writer.constant(weights), writer.shape(node.output[0])
    apart = {*how.get("dilations", ()), group} == {1} and not any(how.get("pads", ()))
    if [*kernel.shape[2:]] != [*how.get("strides", (1, 1))] or not apart:
        raise unknown("a transposed convolution whose windows overlap")
    inputs = [
        writer.numbers([shape[axis] for axis in LAST]),
        writer.numbers(kernel.transpose(1, 2, 3, 0)),
        writer.stored(data, LAST),
        *(writer.numbers(writer.constant(name)) for name in bias),
    ]
    settings = {"padding": schema.Padding.VALID}
    settings |= {"strideH": kernel.shape[2], "strideW": kernel.shape[3]}
    kind = "TransposeConvOptions"
    writer.make(node.output[0], "TRANSPOSE_CONV", inputs, LAST, kind, settings)


def max_pool(writer: Writer, node: NodeProto, **how: Any) -> None:
    """Of two dimensions."""
    _pool(writer, node, "MAX_POOL_2D", LOWEST, **how)


def average_pool(writer: Writer, node: NodeProto, count_include_pad: int = 0, **how: Any) -> None:
    """Of two dimensions."""
    # What TFLite pads is not counted; zeros that are there before it are.
    _pool(writer, node, "AVERAGE_POOL_2D", 0.0 if count_include_pad else None, **how)


def _pool(
    writer: Writer,
    node: NodeProto,
    name: str,
    fill: float | None,
    kernel_shape: list[int],
    **how: Any,
) -> None:
    index, settings = _window(writer, node, kernel_shape, fill, by_itself=fill != 0, **how)
    settings |= {"filterHeight": kernel_shape[0], "filterWidth": kernel_shape[1]}
    writer.make(node.output[0], name, [index], LAST, "Pool2DOptions", settings)


def _window(
    writer: Writer,
    node: NodeProto,
    kernel: Sequence[int],
    fill: float | None,
    by_itself: bool = True,
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    dilations: Sequence[int] = (1, 1),
    **_: Any,
) -> tuple[int, dict[str, int]]:
    """A map, padded where TFLite does not pad ``by_itself`` as asked, and how a window moves."""
    shape, places = writer.shape(node.input[0]), writer.shape(node.output[0])[2:]
    sides, before, after = shape[2:], pads[:2], pads[2:]
    reach = [(size - 1) * apart + 1 for size, apart in zip(kernel, dilations, strict=True)]
    index = writer.stored(node.input[0], LAST)
    settings = {"strideH": strides[0], "strideW": strides[1], "padding": schema.Padding.VALID}
    # TFLite's SAME puts the odd one of the padding last.
    own = [
        max((math.ceil(side / step) - 1) * step + long - side, 0)
        for side, step, long in zip(sides, strides, reach, strict=True)
    ]
    ends = [math.ceil(side / step) for side, step in zip(sides, strides, strict=True)]
    halves = [half // 2 for half in own], [half - half // 2 for half in own]
    if by_itself and ([*before], [*after], [*places]) == (*halves, ends):
        return index, settings | {"padding": schema.Padding.SAME}
    padded = [sum(three) for three in zip(sides, before, after, strict=True)]
    moves = zip(padded, reach, strides, strict=True)
    if [(side - long) // step + 1 for side, long, step in moves] != [*places] or (
        any(pads) and fill is None
    ):
        raise unknown(f"{node.op_type} with this padding")
    if any(pads):
        around = [[0, 0], *([*pair] for pair in zip(before, after, strict=True)), [0, 0]]
        inputs, sizes = [index, writer.numbers(around)], [shape[0], *padded, shape[1]]
        if fill:
            inputs.append(writer.numbers(fill))
        name = "PADV2" if fill else "PAD"
        index = writer.operator(name, inputs, sizes, "PadV2Options" if fill else "PadOptions")
    return index, settings
