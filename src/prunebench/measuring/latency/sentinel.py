"""The noise sentinel: a small fixed network in every round; what changes it comes from the host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from prunebench.common.files import write_atomically

CHANNELS = (3, 16, 32, 64, 64, 64)
STRIDES = (2, 2, 2, 1, 1)
INPUT_HW = (192, 320)


def write_sentinel(path: Path) -> None:
    """Write the reference model: five 3x3 convolutions with ReLU, 113 million MACs.

    The input is (1, 3, 192, 320) float32, the channels are whole kernel blocks on every CPU.
    """
    rng = np.random.default_rng(20240229)
    nodes, weights = [], []
    current = "images"
    for index, stride in enumerate(STRIDES):
        fan_in = CHANNELS[index] * 9
        kernel = rng.normal(0, (2 / fan_in) ** 0.5, (CHANNELS[index + 1], CHANNELS[index], 3, 3))
        weights.append(numpy_helper.from_array(kernel.astype(np.float32), f"w{index}"))
        shape: dict[str, Any] = {
            "kernel_shape": [3, 3],
            "pads": [1, 1, 1, 1],
            "strides": [stride, stride],
        }
        nodes += [
            helper.make_node("Conv", [current, f"w{index}"], [f"c{index}"], **shape),
            helper.make_node("Relu", [f"c{index}"], [f"r{index}"]),
        ]
        current = f"r{index}"
    scale = int(np.prod(STRIDES))
    shapes = {
        "images": [1, 3, *INPUT_HW],
        current: [1, CHANNELS[-1], *(size // scale for size in INPUT_HW)],
    }
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    ]
    graph = helper.make_graph(nodes, "sentinel", ends[:1], ends[1:], initializer=weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    write_atomically(path, model.SerializeToString(deterministic=True))
