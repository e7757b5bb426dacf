#!/usr/bin/env bash
# Question: does ncnn raise negative numbers to a whole power, as in a GELU written out with x ** 3?
# Guess: yes: -2 cubed is -8 everywhere.
# Seen: squares are right (pnnx makes them an operator of their own). Any other whole power of a negative number is 2.4e38,
#   odd, even or -1, half of the values of a map. Positive bases are right, and so is x * x * x. No message.
# Versions: pnnx 20261020, ncnn 1.0.20261020, onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6 (x86-64, CPU, float32)
# Date: 2026-11-29
# Output:
#   -2 ** 2: 4 in onnxruntime, 4 in ncnn
#   -2 ** 3: -8 in onnxruntime, 2.40614e+38 in ncnn
#   -2 ** 4: 16 in onnxruntime, 2.40614e+38 in ncnn
#   -2 ** -1: -0.5 in onnxruntime, 2.40614e+38 in ncnn
#   -2 * -2 * -2: -8 in onnxruntime, -8 in ncnn
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


unit = np.eye(2, dtype=np.float32)[:, :, None, None]
values = np.linspace(-2, 2, 64, dtype=np.float32).reshape(1, 2, 4, 8)
for exponent in (2, 3, 4, -1):
    node = helper.make_node("Pow", ["c", "e"], ["y"])
    constants = {"unit": unit, "e": np.float32(exponent)}
    expected, found = both(after_convolution(node), values, constants, values.shape)
    print(f"-2 ** {exponent}: {expected.ravel()[0]:g} in onnxruntime, {found.ravel()[0]:g} in ncnn")
    negative = values[0] < 0
    assert np.allclose(found[~negative], expected[~negative], rtol=1e-4)
    assert np.allclose(found, expected) if exponent == 2 else (found[negative] > 2e38).all()
cube = [helper.make_node("Mul", ["c", "c"], ["q"]), helper.make_node("Mul", ["q", "c"], ["y"])]
expected, found = both(after_convolution(*cube), values, {"unit": unit}, values.shape)
print(f"-2 * -2 * -2: {expected.ravel()[0]:g} in onnxruntime, {found.ravel()[0]:g} in ncnn")
assert np.allclose(found, expected)
PY
