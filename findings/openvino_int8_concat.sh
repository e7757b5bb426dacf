#!/usr/bin/env bash
# Question: does OpenVINO read a file that NNCF, Intel's own quantizer, made of an ONNX network with a Concat?
# Guess: yes, to rounding: NNCF supports ONNX, and OpenVINO is its first target.
# Seen: where signed 8-bit tensors meet in a Concat with no QuantizeLinear between it and the convolution behind it, as NNCF
#   writes and every block of a YOLO has, they become whole numbers there, whatever the file's
#   scale: outputs as wrong as they are large, without a message. Right in onnxruntime; with unsigned activations;
#   with one tensor left in float; and where NNCF quantizes the network after OpenVINO has read it.
# Versions: nncf 3.4.0, OpenVINO 2026.4.1, onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6 (x86-64, f32 asked for)
# Date: 2026-11-29
# Output:
#   int8, Concat of two tensors: -2 to 2 comes out as -2, -1, 0, 1, 2
#   int8, Concat of one of them float: right
#   int8, Concat of none: right
#   uint8, Concat of two tensors: right
#   uint8, Concat of one of them float: right
#   uint8, Concat of none: right
#   NNCF's file of the ONNX network: 2% from the float network in onnxruntime, 100% in OpenVINO; quantized after reading: 2% in OpenVINO
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet nncf==3.4.0 openvino==2026.4.1 onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
export NNCF_DISABLE_TELEMETRY=1 NO_COLOR=1
venv/bin/python - <<'PY'
import contextlib
import io
import logging

import nncf
import numpy as np
import onnx
import onnxruntime as ort
import openvino as ov
from onnx import helper, numpy_helper

nncf.set_log_level(logging.ERROR)
core = ov.Core()
rng = np.random.default_rng(0)


def graph_of(nodes, constants, shape, made):
    ends = [helper.make_tensor_value_info(*end) for end in (("x", 1, shape), ("y", 1, made))]
    kept = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:], kept)
    imports = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


def in_onnxruntime(model, values):
    """As the file is written, nothing optimised."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options).run(None, {"x": values})[0]


def in_openvino(model, values):
    how = {"INFERENCE_PRECISION_HINT": "f32"}
    return core.compile_model(model, "CPU", how)(values)[0]


def read(model):
    return core.read_model(model.SerializeToString())


def error(values, exact):
    return 100 * np.abs(values - exact).max() / np.abs(exact).max()


# One file by hand: two tensors on 8 bits, joined, and a convolution that takes their first channel, -2 to 2
# in tenths.
values = np.zeros((1, 8, 4, 10), np.float32)
values[0, 0] = np.arange(-20, 20).reshape(4, 10) / 10
for kind, zero in (("int8", 0), ("uint8", 128)):
    for joined in ("two tensors", "one of them float", "none"):
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
            helper.make_node("DequantizeLinear", ["w", "r", "o"], ["v"]),
        ]
        if joined != "none":
            second = "d" if joined == "two tensors" else "x"
            nodes.append(helper.make_node("Concat", ["d", second], ["j"], axis=1))
        nodes.append(helper.make_node("Conv", ["d" if joined == "none" else "j", "v"], ["y"]))
        weights = np.zeros((1, 8 if joined == "none" else 16, 1, 1), np.int8)
        weights[0, 0] = 100
        constants = {"s": np.float32(0.025), "z": np.array(zero, kind), "w": weights}
        constants |= {"r": np.float32(0.01), "o": np.int8(0)}
        model = graph_of(nodes, constants, [1, 8, 4, 10], [1, 1, 4, 10])
        exact, made = in_onnxruntime(model, values), in_openvino(read(model), values)
        wrong = np.abs(made - exact).max() > 0.01
        seen = sorted({f"{value:g}" for value in made.ravel().round(3)}, key=float)
        print(f"{kind}, Concat of {joined}: " + (f"-2 to 2 comes out as {', '.join(seen)}" if wrong else "right"))
        assert wrong == (kind == "int8" and joined == "two tensors")

# A network as NNCF quantizes it: a block that splits into two ways and joins them.
shapes = {"w1": (16, 3, 3, 3), "w2": (16, 16, 3, 3), "w3": (8, 32, 1, 1)}
constants = {
    name: (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
    for name, shape in shapes.items()
}
nodes = [
    helper.make_node("Conv", ["x", "w1"], ["a"], pads=[1] * 4),
    helper.make_node("Sigmoid", ["a"], ["b"]),
    helper.make_node("Mul", ["a", "b"], ["c"]),
    helper.make_node("Conv", ["c", "w2"], ["d"], pads=[1] * 4),
    helper.make_node("Sigmoid", ["d"], ["e"]),
    helper.make_node("Mul", ["d", "e"], ["f"]),
    helper.make_node("Concat", ["c", "f"], ["g"], axis=1),
    helper.make_node("Conv", ["g", "w3"], ["y"]),
]
model = graph_of(nodes, constants, [1, 3, 32, 32], [1, 8, 32, 32])
images = [rng.uniform(-2, 2, size=(1, 3, 32, 32)).astype(np.float32) for _ in range(8)]
exact = in_onnxruntime(model, images[0])
with contextlib.redirect_stdout(io.StringIO()):
    dataset = nncf.Dataset(images, lambda image: {"x": image})
    of_onnx = nncf.quantize(model, dataset)
    of_openvino = nncf.quantize(read(model), dataset)
errors = (
    error(in_onnxruntime(of_onnx, images[0]), exact),
    error(in_openvino(read(of_onnx), images[0]), exact),
    error(in_openvino(of_openvino, images[0]), exact),
)
print(
    f"NNCF's file of the ONNX network: {errors[0]:.0f}% from the float network in onnxruntime, {errors[1]:.0f}% in OpenVINO;"
    f" quantized after reading: {errors[2]:.0f}% in OpenVINO"
)
assert errors[1] > 30 and errors[0] < 8 and errors[2] < 8
PY
