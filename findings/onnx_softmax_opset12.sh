#!/usr/bin/env bash
# Question: does a file keep its values when onnx's version_converter takes it to opset 11 or 12 for an older tool?
# Guess: yes, or an error where an operator cannot be written in that opset.
# Seen: a Softmax over another axis than the last keeps its axis, but until opset 12 that means all axes from there on:
#   the box distribution of YOLO's head (16 bins, axis 1 of 1 x 16 x 4 x anchors) no longer adds up to 1 per side of a
#   box but to 1 over all boxes together. The file is valid and loads. So does LogSoftmax. Taken from 12 to 13, and over
#   the last axis, it stays right. torch.onnx.export(opset_version=12) of torch 2.14.1 converts with it by default and
#   gives the same wrong file (not run here); with dynamo=False, as Ultralytics exports, it is right.
# Versions: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6
# Date: 2026-11-28
# Output:
#   Softmax over axis 1 of 1 x 16 x 4 x 84: opset 13 adds up to 1 336 times, opset 12 to 1 once, 0.915 apart
#   Softmax over axis 3 of 1 x 4 x 84 x 16: 0 apart
#   LogSoftmax over axis 1 of 1 x 16 x 4 x 84: 8.16 apart
#   Softmax over axis 1, from opset 12 to 13: 0 apart
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, version_converter

rng = np.random.default_rng(0)


def converted(operator, shape, axis, before, after):
    """What the file computes in one opset, and what once converted to the other."""
    ends = [helper.make_tensor_value_info(name, 1, shape) for name in "xy"]
    node = helper.make_node(operator, ["x"], ["y"], axis=axis)
    graph = helper.make_graph([node], "graph", ends[:1], ends[1:])
    file = helper.make_model(graph, opset_imports=[helper.make_opsetid("", before)], ir_version=8)
    values = rng.normal(size=shape).astype(np.float32) * 2
    found = []
    for model in (file, version_converter.convert_version(file, after)):
        onnx.checker.check_model(model, full_check=True)
        session = ort.InferenceSession(model.SerializeToString())
        found.append(session.run(None, {"x": values})[0])
    return found


def apart(found):
    return np.abs(found[1] - found[0]).max()


boxes = (1, 16, 4, 84)
found = converted("Softmax", boxes, 1, 13, 12)
assert np.allclose(found[0].sum(1), 1, atol=1e-5)
assert np.isclose(found[1].sum(), 1, atol=1e-4) and apart(found) > 0.1
print(
    "Softmax over axis 1 of 1 x 16 x 4 x 84: opset 13 adds up to 1 336 times, "
    f"opset 12 to 1 once, {apart(found):.3g} apart"
)
last = apart(converted("Softmax", (1, 4, 84, 16), 3, 13, 12))
print(f"Softmax over axis 3 of 1 x 4 x 84 x 16: {last:.1g} apart")
assert last < 1e-6
logarithm = apart(converted("LogSoftmax", boxes, 1, 13, 12))
print(f"LogSoftmax over axis 1 of 1 x 16 x 4 x 84: {logarithm:.3g} apart")
assert logarithm > 1
upwards = apart(converted("Softmax", boxes, 1, 12, 13))
print(f"Softmax over axis 1, from opset 12 to 13: {upwards:.1g} apart")
assert upwards < 1e-6
PY
