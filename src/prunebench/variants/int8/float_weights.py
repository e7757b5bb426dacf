"""Layers in float that stay in float.

Where a convolution in float stands between integers, onnxruntime rounds its weights as it loads the
file, to 8 bits with one scale for all channels, and runs it on integers (``WeightBiasQuantization``
of 1.32): worse than the integers it was spared. It does so where its input has one scale, so that
such an input gets that scale once for each channel, which means the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from prunebench.measuring.onnx_graph import is_conv
from prunebench.variants.rewriting.editing import Graph

if TYPE_CHECKING:
    import onnx

CONVERSION = "DequantizeLinear"


def with_float_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with a scale per channel before every convolution whose weights are in float."""
    graph = Graph(model)
    known: dict[str, str] = {}
    for conv in [node for node in graph.nodes if is_conv(node)]:
        image, weight, *_ = conv.input
        conversion = graph.maker(image, CONVERSION)
        if conversion is None or graph.maker(weight, CONVERSION) is not None:
            continue
        if image not in known:
            integers, *scale = conversion.input
            channels = graph.shape(image)[1]
            scales = [
                graph.store(f"{name}_{image}", np.full(channels, graph.constant(name)))
                for name in scale
            ]
            name = f"{conversion.name}_by_channel"
            known[image] = graph.add(CONVERSION, name, [integers, *scales], axis=1)
        conv.input[0] = known[image]
    return graph.finished()
