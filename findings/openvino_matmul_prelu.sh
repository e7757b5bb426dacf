#!/usr/bin/env bash
# Question: does a PReLU with a slope per channel keep its axis in OpenVINO, behind a MatMul over the last axis?
# Guess: yes: the slope's shape, channels x 1 x 1, says the axis.
# Seen: the PReLU is fused into the MatMul, which takes the slopes for those of its own last axis: wrong values where both
#   are equally long, an error at loading where they are not. A factor of the same shape is right, a PReLU behind
#   anything else too.
# Versions: OpenVINO 2026.4.1, onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6 (x86-64, float32)
# Date: 2026-11-28
# Output:
#   Mul, 4 channels, 4 columns: 2.4e-07 apart
#   PRelu, 4 channels, 4 columns: 2.7 apart
#   PRelu, 4 channels, 8 columns: it does not load
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
values = rng.normal(size=(1, 4, 5, 6)).astype(np.float32)
slopes = np.array([0.1, 0.2, 0.4, 0.8], np.float32)[:, None, None]
weights = rng.normal(size=(6, 4)).astype(np.float32)
constants = {"w": weights, "slopes": slopes}
products = values @ weights
for kind in ("Mul", "PRelu"):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node(kind, ["m", "slopes"], ["y"]),
    ]
    expected, found = both(nodes, values, constants, [1, 4, 5, 4])
    print(f"{kind}, 4 channels, 4 columns: {np.abs(expected - found).max():.2g} apart")
    if kind == "Mul":
        assert np.allclose(found, expected, atol=1e-4)
columns = slopes.reshape(4)  # a slope per column instead of per channel
assert np.allclose(found, np.where(products > 0, products, products * columns), atol=1e-4)
assert np.allclose(expected, np.where(products > 0, products, products * slopes), atol=1e-4)
constants["w"] = rng.normal(size=(6, 8)).astype(np.float32)
try:
    both(nodes, values, constants, [1, 4, 5, 8])
except RuntimeError as error:
    print("PRelu, 4 channels, 8 columns: it does not load")
    assert "data.size() == OC" in str(error)
else:
    raise SystemExit("it loads")
PY
