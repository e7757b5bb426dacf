#!/usr/bin/env bash
# Question: does onnx's own evaluator (onnx.reference), which shows what a file means, pool as the runtimes do where the sides
#   are padded differently, as the MaxPool of stride 1 with a row and a column more at the end in YOLOv3-tiny?
# Guess: yes.
# Seen: for a MaxPool of stride 1 it reads the four numbers in another order, begin and end of the height first, then of the
#   width: an output of another size, without a word. onnxruntime and OpenVINO agree with each other and with the
#   formula of the operator. Right for stride 2, for equal padding, and for AveragePool.
# Versions: onnx 1.23.2, onnxruntime 1.32.0, OpenVINO 2026.4.1, numpy 2.4.6
# Date: 2026-11-29
# Output:
#   MaxPool 2, stride 1, padding [0, 0, 1, 1]: 13 x 13 in the runtimes, 12 x 14 in onnx, other values
#   MaxPool 3, stride 1, padding [1, 0, 1, 0]: 13 x 11 in the runtimes, 12 x 12 in onnx, other values
#   MaxPool 3, stride 1, padding [1, 1, 0, 0]: 12 x 12 in the runtimes, 13 x 11 in onnx, other values
#   MaxPool 3, stride 2, padding [0, 0, 1, 1]: 6 x 6 in the runtimes, 6 x 6 in onnx, the same values
#   MaxPool 3, stride 1, padding [1, 1, 1, 1]: 13 x 13 in the runtimes, 13 x 13 in onnx, the same values
#   AveragePool 2, stride 1, padding [0, 0, 1, 1]: 13 x 13 in the runtimes, 13 x 13 in onnx, the same values
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet onnx==1.23.2 onnxruntime==1.32.0 openvino==2026.4.1 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
import openvino as ov
from onnx import helper
from onnx.reference import ReferenceEvaluator

core = ov.Core()


def pooled(operator, kernel, stride, pads, values):
    """What onnx, onnxruntime and OpenVINO compute."""
    node = helper.make_node(operator, ["x"], ["y"], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads)
    ends = [helper.make_tensor_value_info(*end) for end in [("x", 1, values.shape), ("y", 1, list("abcd"))]]
    graph = helper.make_graph([node], "pool", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    file = model.SerializeToString()
    return (
        ReferenceEvaluator(model).run(None, {"x": values})[0],
        ort.InferenceSession(file).run(None, {"x": values})[0],
        core.compile_model(core.read_model(file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(values)[0],
    )


for operator, kernel, stride, pads, side, right in [
    ("MaxPool", 2, 1, [0, 0, 1, 1], 13, False),
    ("MaxPool", 3, 1, [1, 0, 1, 0], 13, False),
    ("MaxPool", 3, 1, [1, 1, 0, 0], 13, False),
    ("MaxPool", 3, 2, [0, 0, 1, 1], 13, True),
    ("MaxPool", 3, 1, [1, 1, 1, 1], 13, True),
    ("AveragePool", 2, 1, [0, 0, 1, 1], 13, True),
]:
    values = np.random.default_rng(0).normal(size=(1, 1, side, side)).astype(np.float32)
    onnx_, runtime, openvino = pooled(operator, kernel, stride, pads, values)
    rows = (side + pads[0] + pads[2] - kernel) // stride + 1
    columns = (side + pads[1] + pads[3] - kernel) // stride + 1
    assert runtime.shape == openvino.shape == (1, 1, rows, columns)
    assert np.allclose(runtime, openvino, atol=1e-5)
    sizes = [" x ".join(map(str, found.shape[2:])) for found in (runtime, onnx_)]
    same = onnx_.shape == runtime.shape and np.allclose(onnx_, runtime, atol=1e-5)
    print(f"{operator} {kernel}, stride {stride}, padding {pads}: {sizes[0]} in the runtimes, {sizes[1]} in onnx", end="")
    print(", the same values" if same else ", other values")
    assert same == right
PY
