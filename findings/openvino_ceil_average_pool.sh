#!/usr/bin/env bash
# Question: does OpenVINO's AveragePool divide as ONNX and torch do where ceil_mode lets a window reach beyond the padding?
# Guess: yes, as it does without padding.
# Seen: with padding that counts (count_include_pad, torch's default) the places beyond the padding count too: the last
#   row and column of a map of ones come out at two thirds of what they are. Without padding, and with padding that
#   does not count, it is right.
# Versions: OpenVINO 2026.4.1, onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6 (x86-64, float32)
# Date: 2026-11-28
# Output:
#   padding 0, counted 1: onnxruntime ends in [1.0, 1.0], OpenVINO in [1.0, 1.0]
#   padding 1, counted 0: onnxruntime ends in [1.0, 1.0, 1.0], OpenVINO in [1.0, 1.0, 1.0]
#   padding 1, counted 1: onnxruntime ends in [0.33000001311302185, 0.5, 0.25], OpenVINO in [0.2199999988079071, 0.33000001311302185, 0.10999999940395355]
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


values = np.ones((1, 1, 4, 4), np.float32)
for padding, include in [(0, 1), (1, 0), (1, 1)]:
    side = 3 if padding else 2
    how = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [padding] * 4, "ceil_mode": 1}
    node = helper.make_node("AveragePool", ["x"], ["y"], count_include_pad=include, **how)
    expected, found = both([node], values, {}, [1, 1, side, side])
    rows = [result[0, 0, -1].round(2).tolist() for result in (expected, found)]
    print(f"padding {padding}, counted {include}: onnxruntime ends in {rows[0]}, OpenVINO in {rows[1]}")
    right = (padding, include) != (1, 1)
    assert np.allclose(expected, found, atol=1e-4) == right
on_map = np.array([2, 3, 1])  # columns of the map, and columns of map and padding, in each window
counted = np.array([3, 3, 2])
assert np.allclose(expected[0, 0], np.outer(on_map / counted, on_map / counted), atol=1e-4)
assert np.allclose(found[0, 0], np.outer(on_map / 3, on_map / 3), atol=1e-4)
PY
