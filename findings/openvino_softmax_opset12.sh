#!/usr/bin/env bash
# Question: does OpenVINO read the Softmax of an ONNX file of opset 11 or 12, as older exports have it, as onnxruntime does?
# Guess: yes: until opset 12 it spans all axes from `axis` on, which both know.
# Seen: OpenVINO takes that one axis only, as from opset 13 on: other values unless the axes behind it have one place.
#   Its LogSoftmax spans them. Known as OpenVINO's issue 37823, closed, but so in this release. So it also computes what onnx's version_converter wrote wrongly, see onnx_softmax_opset12.sh, as
#   it was meant: of two runtimes that differ there, onnxruntime is the one that follows the file.
# Versions: OpenVINO 2026.4.1, onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6 (x86-64, float32)
# Date: 2026-11-28
# Output:
#   Softmax over axis 1 of 1 x 7 x 20 x 20, opset 12: 0.8 apart, together 1 in onnxruntime, 400 in OpenVINO
#   Softmax over axis 1 of 1 x 7 x 20 x 20, opset 11: 0.8 apart, together 1 in onnxruntime, 400 in OpenVINO
#   LogSoftmax over axis 1 of 1 x 7 x 20 x 20, opset 12: 0 apart
#   Softmax over axis 1 of 1 x 7 x 1 x 1, opset 12: 7e-09 apart, together 1 in onnxruntime, 1 in OpenVINO
#   Softmax over axis 3 of 1 x 7 x 20 x 20, opset 12: 9e-08 apart, together 140 in onnxruntime, 140 in OpenVINO
#   Softmax over axis 1 of 1 x 7 x 20 x 20, opset 13: 1e-07 apart, together 400 in onnxruntime, 400 in OpenVINO
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
from onnx import helper


def both(operator, shape, axis, opset):
    """What onnxruntime and OpenVINO compute in float32."""
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    ends = [helper.make_tensor_value_info(name, 1, shape) for name in "xy"]
    node = helper.make_node(operator, ["x"], ["y"], axis=axis)
    graph = helper.make_graph([node], "graph", ends[:1], ends[1:])
    imports = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=7)
    onnx.checker.check_model(model, full_check=True)
    file = model.SerializeToString()
    expected = ort.InferenceSession(file).run(None, {"x": values})[0]
    core = ov.Core()
    how = {"INFERENCE_PRECISION_HINT": "f32"}
    return expected, core.compile_model(core.read_model(file), "CPU", how)(values)[0]


for operator, shape, axis, opset, right in [
    ("Softmax", (1, 7, 20, 20), 1, 12, False),
    ("Softmax", (1, 7, 20, 20), 1, 11, False),
    ("LogSoftmax", (1, 7, 20, 20), 1, 12, True),
    ("Softmax", (1, 7, 1, 1), 1, 12, True),
    ("Softmax", (1, 7, 20, 20), 3, 12, True),
    ("Softmax", (1, 7, 20, 20), 1, 13, True),
]:
    expected, found = both(operator, shape, axis, opset)
    apart = np.abs(expected - found).max()
    size = " x ".join(map(str, shape))
    sums = ""
    if operator == "Softmax":
        sums = f", together {expected.sum():.0f} in onnxruntime, {found.sum():.0f} in OpenVINO"
    print(f"{operator} over axis {axis} of {size}, opset {opset}: {apart:.1g} apart{sums}")
    assert apart < 1e-5 if right else apart > 0.1
PY
