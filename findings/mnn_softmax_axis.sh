#!/usr/bin/env bash
# Question: does MNN compute a softmax over the classes of a map (axis 1) as ONNX does when logits are large
#   (a learned temperature, a soft-argmax with beta 100)?
# Guess: yes: every runtime subtracts the largest logit first, and the axis makes no difference.
# Seen: over the last axis it does, and over axis 1 from 8 channels on. With fewer channels (and more than 8
#   places) exponentials are taken of the logits themselves, held to about 87: every class above that gets
#   an equal share, and a constant added to all logits, which must change nothing, changes the result.
# Versions: MNN 3.6.1, onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6 (CPU, float32)
# Date: 2026-11-28
# Output:
#   5 channels, axis 1, logits 0 to 80: 2.4e-07
#   5 channels, axis 1, logits 0 to 300: 0.80
#   5 channels, axis 1, logits 1000 to 1010: 0.80
#   5 channels, axis 3, logits 0 to 300: 1.2e-07
#   8 channels, axis 1, logits 0 to 300: 1.2e-07
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet MNN==3.6.1 onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
venv/bin/python - <<'PY'
import subprocess

import MNN.expr as expr
import MNN.nn as nn
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper


def largest_difference(values, axis):
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, values.shape) for n in "xy"]
    graph = helper.make_graph(
        [helper.make_node("Softmax", ["x"], ["y"], axis=axis)], "softmax", ends[:1], ends[1:]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, "m.onnx")
    reference = ort.InferenceSession("m.onnx").run(None, {"x": values})[0]
    convert = ["venv/bin/mnnconvert", "-f", "ONNX", "--modelFile", "m.onnx", "--MNNModel", "m.mnn"]
    subprocess.run(convert, check=True, capture_output=True)
    given = expr.placeholder(list(values.shape), expr.NCHW, expr.float)
    given.write(values)
    output = nn.load_module_from_file("m.mnn", ["x"], ["y"]).forward([given])[0]
    found = np.array(expr.convert(output, expr.NCHW).read()).reshape(values.shape)
    return float(np.abs(found - reference).max())


def logits(channels, low, high):
    return np.random.default_rng(0).uniform(low, high, (1, channels, 32, 32)).astype(np.float32)


near = largest_difference(logits(5, 0, 80), 1)
print(f"5 channels, axis 1, logits 0 to 80: {near:.1e}")
far = largest_difference(logits(5, 0, 300), 1)
print(f"5 channels, axis 1, logits 0 to 300: {far:.2f}")
moved = largest_difference(logits(5, 1000, 1010), 1)
print(f"5 channels, axis 1, logits 1000 to 1010: {moved:.2f}")
last = largest_difference(logits(5, 0, 300), 3)
print(f"5 channels, axis 3, logits 0 to 300: {last:.1e}")
eight = largest_difference(logits(8, 0, 300), 1)
print(f"8 channels, axis 1, logits 0 to 300: {eight:.1e}")
assert near < 1e-5 and far > 0.5 and moved > 0.5 and last < 1e-5 and eight < 1e-5
PY
