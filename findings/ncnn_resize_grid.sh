#!/usr/bin/env bash
# Question: does ONNX's Resize keep its coordinate_transformation_mode through pnnx and ncnn?
# Guess: yes, or an unknown one is refused: ncnn's Interp knows half pixels and aligned corners.
# Seen: linear and cubic with "asymmetric" (networks from Caffe, MXNet and older exports) are sampled at half pixels, and
#   nearest always asymmetric, whatever is asked ("half_pixel" with floor, "align_corners"): up to a place off.
# Versions: pnnx 20261020, ncnn 1.0.20261020, onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6 (CPU, float32)
# Date: 2026-11-28
# Output:
#   linear, half_pixel: 0 apart
#   linear, align_corners: 0 apart
#   linear, asymmetric: 0.25 apart
#   nearest, asymmetric: 0 apart
#   nearest, half_pixel: 1 apart
#   nearest, align_corners: 1 apart
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
# pnnx asks for torch, which its converter of ONNX files does not use.
venv/bin/pip install --quiet --no-deps pnnx==20261020
venv/bin/pip install --quiet ncnn==1.0.20261020 onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
venv/bin/python - <<'PY'
import importlib.util
import subprocess

import ncnn
import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

# The program itself: the script of this name imports torch.
pnnx = importlib.util.find_spec("pnnx").submodule_search_locations[0] + "/pnnx"


def both(nodes, values, constants, shape, opset=17):
    """What onnxruntime and ncnn compute of values, an output of that shape."""
    ends = [helper.make_tensor_value_info(*end) for end in (("x", 1, values.shape), ("y", 1, shape))]
    kept = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:], kept)
    imports = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, "m.onnx")
    expected = ort.InferenceSession("m.onnx").run(None, {"x": values})[0][0]
    subprocess.run([pnnx, "m.onnx", "fp16=0"], check=True, capture_output=True)
    network = ncnn.Net()
    network.opt.num_threads = 1
    assert network.load_param("m.ncnn.param") == 0 and network.load_model("m.ncnn.bin") == 0
    extractor = network.create_extractor()
    extractor.input("in0", ncnn.Mat(values[0]).clone())
    return expected, np.array(extractor.extract("out0")[1])


def after_convolution(*nodes):
    """The nodes behind a convolution that copies its input."""
    return [helper.make_node("Conv", ["x", "unit"], ["c"]), *nodes]


values = np.arange(4, dtype=np.float32).reshape(1, 1, 1, 4)
constants = {"unit": np.ones((1, 1, 1, 1), np.float32), "scales": np.array([1, 1, 1, 2], np.float32)}


def resized(mode, grid):
    how = {"mode": mode, "coordinate_transformation_mode": grid, "nearest_mode": "floor"}
    node = helper.make_node("Resize", ["c", "", "scales"], ["y"], **how)
    expected, found = both(after_convolution(node), values, constants, [1, 1, 1, 8])
    print(f"{mode}, {grid}: {np.abs(expected - found).max():.2g} apart")
    return expected, found


for mode, right, wrong in [
    ("linear", ["half_pixel", "align_corners"], ["asymmetric"]),
    ("nearest", ["asymmetric"], ["half_pixel", "align_corners"]),
]:
    for grid in right:
        expected, usual = resized(mode, grid)
        assert np.allclose(expected, usual, atol=1e-5)
        first = usual if grid == right[0] else first
    for grid in wrong:
        expected, found = resized(mode, grid)
        assert np.allclose(found, first, atol=1e-5)
        assert np.abs(expected - found).max() > 0.2
PY
