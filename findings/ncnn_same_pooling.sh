#!/usr/bin/env bash
# Question: does auto_pad SAME_UPPER of a pooling with stride 2 (networks from TensorFlow) mean in ncnn, through pnnx,
#   what it means for the convolution beside it: the odd row and column of padding behind?
# Guess: yes: one rule, and pnnx reads it rightly for Conv.
# Seen: Conv is right. A MaxPool or AveragePool of 3x3 and stride 2 gets the padding before the first row and column, as
#   SAME_LOWER would, so that its windows lie one place off; the average divides by 9 at the border besides.
# Versions: pnnx 20261020, ncnn 1.0.20261020, onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6 (CPU, float32)
# Date: 2026-11-28
# Output:
#   Conv: 2e-06 apart
#   MaxPool: onnxruntime [10.0, 11.0, 14.0, 15.0], ncnn [5.0, 7.0, 13.0, 15.0]
#   AveragePool: onnxruntime [5.0, 6.5, 11.0, 12.5], ncnn [1.1100000143051147, 2.6700000762939453, 5.670000076293945, 10.0]
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


values = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
ones = np.ones((1, 1, 1, 1), np.float32)
same = {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}

weights = np.random.default_rng(0).normal(size=(1, 1, 3, 3)).astype(np.float32)
node = helper.make_node("Conv", ["c", "w"], ["y"], **same)
expected, found = both(after_convolution(node), values, {"unit": ones, "w": weights}, [1, 1, 2, 2])
print(f"Conv: {np.abs(expected - found).max():.0e} apart")
assert np.allclose(expected, found, atol=1e-4)
for kind in ("MaxPool", "AveragePool"):
    node = helper.make_node(kind, ["c"], ["y"], **same)
    expected, found = both(after_convolution(node), values, {"unit": ones}, [1, 1, 2, 2])
    print(f"{kind}: onnxruntime {expected.ravel().tolist()}, ncnn {found.ravel().round(2).tolist()}")
    before = np.pad(values[0, 0], ((1, 0), (1, 0)))  # zeros are no maximum here
    windows = [before[y : y + 3, x : x + 3] for y in (0, 2) for x in (0, 2)]
    reduce = np.max if kind == "MaxPool" else np.mean
    assert np.allclose(found.ravel(), [reduce(window) for window in windows], atol=1e-4)
    assert not np.allclose(expected, found, atol=0.5)
PY
