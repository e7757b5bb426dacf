#!/usr/bin/env bash
# Question: does an AveragePool with ceil_mode keep its values when onnxruntime runs a quantized file in integers?
# Guess: yes, to one step of the quantization: the windows are those of the float kernel.
# Seen: with count_include_pad (torch's default for AvgPool2d, so what its exporter writes) the last windows, which reach
#   beyond the map, are divided by the whole kernel instead of by what lies on the map: a constant map of 1 ends in
#   0.5 and 0.25. The same file is right without optimizations, and so is the float file, and count_include_pad = 0.
# Versions: onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6 (x86-64)
# Date: 2026-11-28
# Output:
#   count_include_pad 1, as written: [1.0, 1.0, 1.0], optimized: [1.0, 1.0, 0.5], last corner 0.25
#   count_include_pad 0, as written: [1.0, 1.0, 1.0], optimized: [1.0, 1.0, 1.0], last corner 1.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper
from onnxruntime import GraphOptimizationLevel


def pooled(include, level):
    step = {"step": np.float32(1 / 64), "zero": np.uint8(0)}
    kept = [numpy_helper.from_array(np.asarray(value), name) for name, value in step.items()]
    how = {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1, "count_include_pad": include}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", *step], ["x8"]),
        helper.make_node("DequantizeLinear", ["x8", *step], ["d"]),
        helper.make_node("AveragePool", ["d"], ["p"], **how),
        helper.make_node("QuantizeLinear", ["p", *step], ["p8"]),
        helper.make_node("DequantizeLinear", ["p8", *step], ["y"]),
    ]
    ends = [helper.make_tensor_value_info("x", 1, [1, 4, 5, 5])]
    ends.append(helper.make_tensor_value_info("y", 1, [1, 4, 3, 3]))
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:], kept)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    session = ort.InferenceSession(model.SerializeToString(), options)
    return session.run(None, {"x": np.ones((1, 4, 5, 5), np.float32)})[0][0, 0]


for include in (1, 0):
    right = pooled(include, GraphOptimizationLevel.ORT_DISABLE_ALL)
    found = pooled(include, GraphOptimizationLevel.ORT_ENABLE_ALL)
    print(
        f"count_include_pad {include}, as written: {right[0].tolist()}, "
        f"optimized: {found[0].tolist()}, last corner {found[2, 2]}"
    )
    assert (right == 1).all()
    assert (found == 1).all() if include == 0 else (found[0, 2], found[2, 2]) == (0.5, 0.25)
PY
