#!/usr/bin/env bash
# Question: is the first axis of a 1 x channels x height x width input the batch for pnnx, which leaves it out for ncnn?
# Guess: yes: it is what every exporter writes, and ncnn's axes are one less than ONNX's.
# Seen: only where an operator in the graph says so, such as a convolution or a pooling. A part of a network without
#   one (a softmax or a normalisation cut off with the postprocessing) is converted as if there were no batch: each axis
#   stays one too high and reductions run over the next axis, without a warning.
# Versions: pnnx 20261020, ncnn 1.0.20261020, onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6 (CPU, float32)
# Date: 2026-11-28
# Output:
#   axis 1, behind a convolution: 6e-08 apart
#   axis 1, alone: 0.56 apart
#   axis 2, behind a convolution: 3e-08 apart
#   axis 2, alone: 0.47 apart
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


values = np.random.default_rng(0).normal(size=(1, 3, 4, 5)).astype(np.float32)


def softmax(array, axis):
    powers = np.exp(array - array.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


for axis in (1, 2):
    node = helper.make_node("Softmax", ["c"], ["y"], axis=axis)
    unit = {"unit": np.eye(3, dtype=np.float32)[:, :, None, None]}
    expected, found = both(after_convolution(node), values, unit, values.shape)
    print(f"axis {axis}, behind a convolution: {np.abs(expected - found).max():.0e} apart")
    assert np.allclose(expected, found, atol=1e-5)
    alone = helper.make_node("Softmax", ["x"], ["y"], axis=axis)
    expected, found = both([alone], values, {}, values.shape)
    print(f"axis {axis}, alone: {np.abs(expected - found).max():.2f} apart")
    assert np.allclose(found, softmax(values[0], axis), atol=1e-5)  # of the next axis
PY
