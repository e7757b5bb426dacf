#!/usr/bin/env bash
# Question: does a factor per place of a map (a mask, a window function, a layer scale of positions) stay what it is in
#   OpenVINO where a convolution follows?
# Guess: yes: only a factor per channel can be folded into the convolution's weights.
# Seen: where the map is as wide (or as high) as the kernel, it is folded into the kernel, whose columns mean something
#   else: wrong values at every place. A 7x7 map before a 7x7 depthwise convolution, the last stage of many networks at
#   224 px, is such a case; one column more, or a kernel of 5, is right.
# Versions: OpenVINO 2026.4.1, onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6 (x86-64, float32)
# Date: 2026-11-28
# Output:
#   map 7, kernel 7, a factor per column: 0.6 apart
#   map 7, kernel 7, a factor per place: 0.3 apart
#   map 7, kernel 7, a factor per channel: 9e-08 apart
#   map 8, kernel 7, a factor per column: 0 apart
#   map 8, kernel 7, a factor per place: 0 apart
#   map 8, kernel 7, a factor per channel: 2e-07 apart
#   map 7, kernel 5, a factor per column: 0 apart
#   map 7, kernel 5, a factor per place: 0 apart
#   map 7, kernel 5, a factor per channel: 1e-07 apart
#   map 3, kernel 3, a factor per column: 0.4 apart
#   map 3, kernel 3, a factor per place: 0.5 apart
#   map 3, kernel 3, a factor per channel: 7e-08 apart
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
channels = 4
for side, kernel in [(7, 7), (8, 7), (7, 5), (3, 3)]:
    for what, size in [("column", (side,)), ("place", (side, side)), ("channel", (channels, 1, 1))]:
        constants = {
            "factor": rng.uniform(0.5, 2, size).astype(np.float32),
            "w": rng.normal(size=(channels, 1, kernel, kernel)).astype(np.float32),
        }
        nodes = [
            helper.make_node("Mul", ["x", "factor"], ["m"]),
            helper.make_node("Conv", ["m", "w"], ["y"], group=channels, pads=[kernel // 2] * 4),
        ]
        values = rng.normal(size=(1, channels, side, side)).astype(np.float32)
        expected, found = both(nodes, values, constants, values.shape)
        apart = np.abs(expected - found).max() / np.abs(expected).max()
        print(f"map {side}, kernel {kernel}, a factor per {what}: {apart:.1g} apart")
        assert apart > 0.1 if side == kernel and what != "channel" else apart < 1e-4
PY
