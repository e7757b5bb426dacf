#!/usr/bin/env bash
# Question: does a LayerNormalization over channels, height and width (axis 1, a norm of one group) keep its axes
#   through pnnx and ncnn?
# Guess: yes, or it is refused: ncnn's LayerNorm has an affine size, which here is that of the whole map.
# Seen: the file says the whole size, and ncnn normalises each channel's map for itself: means between channels are gone,
#   which is what a norm of one group is there to keep. Over the last axis, and over height and width, it is right.
# Versions: pnnx 20261020, ncnn 1.0.20261020, onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6 (CPU, float32)
# Date: 2026-11-28
# Output:
#   axis 3: 1.9e-06 apart
#   axis 2: 7.2e-07 apart
#   axis 1: 2.6 apart
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


values = (np.random.default_rng(0).normal(size=(1, 3, 4, 5)) + 5 * np.arange(3)[:, None, None]).astype(np.float32)
unit = np.eye(3, dtype=np.float32)[:, :, None, None]


def normal(array, axes):
    centred = array - array.mean(axes, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axes, keepdims=True) + 1e-5)


for axis in (3, 2, 1):
    size = values.shape[axis:]
    constants = {"unit": unit, "scale": np.ones(size, np.float32), "bias": np.zeros(size, np.float32)}
    node = helper.make_node("LayerNormalization", ["c", "scale", "bias"], ["y"], axis=axis)
    expected, found = both(after_convolution(node), values, constants, values.shape)
    print(f"axis {axis}: {np.abs(expected - found).max():.2g} apart")
    assert np.allclose(expected, normal(values[0], tuple(range(axis - 1, 3))), atol=1e-4)
    assert np.allclose(found, normal(values[0], tuple(range(max(axis, 2) - 1, 3))), atol=1e-3)
PY
