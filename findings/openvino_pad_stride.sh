#!/usr/bin/env bash
# Question: does OpenVINO keep the size of the output of convolution, Pad, 1x1 convolution of stride 2 (a shortcut)?
# Guess: yes: it may move the stride forward, to compute less, but not past what it does not fit.
# Seen: it moves the stride in front of the Pad, which then adds its rows to a map of half the size: the output is larger
#   than the graph says and other places are taken. Without the convolution in front it is right, and with stride 1.
# Versions: OpenVINO 2026.4.1, onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6 (x86-64, float32)
# Date: 2026-11-28
# Output:
#   stride 1, 2 convolutions: (1, 16, 10, 6), onnxruntime (1, 16, 10, 6)
#   stride 2, 1 convolutions: (1, 16, 5, 3), onnxruntime (1, 16, 5, 3)
#   stride 2, 2 convolutions: (1, 16, 6, 3), onnxruntime (1, 16, 5, 3)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet openvino==2026.4.1 onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
import openvino as ov
from onnx import helper, numpy_helper


def both(nodes, values, constants, shape):
    """What onnxruntime and OpenVINO compute of values in float32, an output of that shape."""
    ends = [helper.make_tensor_value_info(*end) for end in (("x", 1, values.shape), ("y", 1, shape))]
    kept = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:], kept)
    imports = [helper.make_opsetid("", 20)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    file = model.SerializeToString()
    expected = ort.InferenceSession(file).run(None, {"x": values})[0]
    core = ov.Core()
    how = {"INFERENCE_PRECISION_HINT": "f32"}
    return expected, core.compile_model(core.read_model(file), "CPU", how)(values)[0]


rng = np.random.default_rng(0)
values = rng.normal(size=(1, 16, 8, 6)).astype(np.float32)
constants = {
    "first": rng.normal(size=(8, 16, 1, 1)).astype(np.float32),
    "second": rng.normal(size=(16, 8, 1, 1)).astype(np.float32),
    "pads": np.array([0, 0, 2, 0, 0, 0, 0, 0]),
}
for stride, convolutions in [(1, 2), (2, 1), (2, 2)]:
    nodes = [
        helper.make_node("Pad", ["c" if convolutions == 2 else "x", "pads"], ["p"]),
        helper.make_node("Conv", ["p", "second"], ["y"], strides=[stride, stride]),
    ]
    if convolutions == 2:
        nodes.insert(0, helper.make_node("Conv", ["x", "first"], ["c"]))
    given = values if convolutions == 2 else values[:, :8]
    shape = [1, 16, 10 // stride, 6 // stride]
    expected, found = both(nodes, given, constants, shape)
    print(f"stride {stride}, {convolutions} convolutions: {found.shape}, onnxruntime {expected.shape}")
    right = (stride, convolutions) != (2, 2)
    assert (found.shape == expected.shape) == right
    assert not right or np.allclose(found, expected, atol=1e-4)
PY
