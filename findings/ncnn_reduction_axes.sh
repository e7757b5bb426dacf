#!/usr/bin/env bash
# Question: does a ReduceMean or ReduceSum whose axes are an input (ReduceSum since opset 13, the others since 18,
#   what exporters write today) reach ncnn through pnnx?
# Guess: yes: the axes are a constant, and pnnx folds constants.
# Seen: over height and width together it does (it becomes a global pooling). Over one axis the converter drops the
#   axes without a word, and ncnn then reduces nothing: the output is the input. With the axes as an attribute
#   (opset 13, ReduceMean) the same reduction is right.
# Versions: pnnx 20261020, ncnn 1.0.20261020, onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6 (CPU, float32)
# Date: 2026-11-28
# Output:
#   ReduceMean, axes [1], opset 13: ncnn gives (1, 5, 6), onnxruntime (1, 5, 6)
#   ReduceMean, axes [2, 3], opset 18: ncnn gives (4, 1, 1), onnxruntime (4, 1, 1)
#   ReduceMean, axes [1], opset 18: ncnn gives (4, 5, 6), onnxruntime (1, 5, 6)
#   ReduceMean, axes [3], opset 18: ncnn gives (4, 5, 6), onnxruntime (4, 5, 1)
#   ReduceSum, axes [1], opset 13: ncnn gives (4, 5, 6), onnxruntime (1, 5, 6)
#   where the shapes differ, ncnn's output is the input
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


values = np.random.default_rng(0).normal(size=(1, 4, 5, 6)).astype(np.float32)
unit = np.eye(4, dtype=np.float32)[:, :, None, None]


def reduced(kind, axes, opset):
    shape = [1 if axis in axes else size for axis, size in enumerate(values.shape)]
    if opset == 18 or kind == "ReduceSum":
        node = helper.make_node(kind, ["c", "axes"], ["y"], keepdims=1)
        constants = {"unit": unit, "axes": np.array(axes)}
    else:
        node = helper.make_node(kind, ["c"], ["y"], keepdims=1, axes=axes)
        constants = {"unit": unit}
    expected, found = both(after_convolution(node), values, constants, shape, opset)
    print(f"{kind}, axes {axes}, opset {opset}: ncnn gives {found.shape}, onnxruntime {expected.shape}")
    return expected, found


expected, found = reduced("ReduceMean", [1], 13)
assert np.allclose(expected, found, atol=1e-5)
expected, found = reduced("ReduceMean", [2, 3], 18)
assert np.allclose(expected.ravel(), found.ravel(), atol=1e-5)
for kind, axes, opset in [("ReduceMean", [1], 18), ("ReduceMean", [3], 18), ("ReduceSum", [1], 13)]:
    _, found = reduced(kind, axes, opset)
    assert np.array_equal(found, values[0])
print("where the shapes differ, ncnn's output is the input")
PY
