#!/usr/bin/env bash
# Question: does onnxslim keep what a network computes when a convolution is followed by a Mul with
#   constant factors along the rows (or columns) of the map instead of along its channels?
# Guess: yes, within 1e-4: only factors of shape (channels, 1, 1) can be folded, others stay.
# Seen: onnxslim folds every constant with as many numbers as the convolution has channels, whatever
#   its axis. Row factors become channel factors: no error, same shape, wrong numbers. With one
#   row more than channels the Mul stays and all is exact. Add keeps its axis in both cases.
#   The sides of YOLO's maps (24x40, 12x20 at 192x320) are widths a pruned layer can have.
# Versions: onnxslim 0.1.98, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6
# Date: 2026-11-28
# Output:
#   Mul: 24 channels, 24x40: Conv, off by 61%
#   Mul: 24 channels, 25x40: Conv+Mul, off by 0%
#   Add: 24 channels, 24x40: Conv+Add, off by 0%
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet onnxslim==0.1.98 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
import onnxslim
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(0)


def outputs(model, image):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options).run(None, {"x": image})[0]


def difference(op, channels, rows, columns):
    weights = rng.normal(size=(channels, 3, 3, 3)).astype(np.float32)
    factors = rng.uniform(0.5, 1.5, size=(rows, 1)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "weights"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node(op, ["c", "factors"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "scaled_rows",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, rows, columns])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, channels, rows, columns])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(factors, "factors")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    image = rng.normal(size=(1, 3, rows, columns)).astype(np.float32)
    before = outputs(model, image)
    slim = onnxslim.slim(model)
    apart = float(np.abs(outputs(slim, image) - before).max() / np.abs(before).max())
    kept = "+".join(node.op_type for node in slim.graph.node)
    print(f"{op}: {channels} channels, {rows}x{columns}: {kept}, off by {apart:.0%}")
    return apart


assert difference("Mul", 24, 24, 40) > 0.2
assert difference("Mul", 24, 25, 40) < 1e-5
assert difference("Add", 24, 24, 40) < 1e-5
PY
