#!/usr/bin/env bash
# Question: is ncnn's log-sum-exp (what pnnx makes of ReduceLogSumExp, torch.logsumexp) safe for large logits?
# Guess: yes: the largest one is subtracted first, as its softmax does.
# Seen: it takes the logarithm of the sum of exponentials as they are: infinite from a logit of 89 on, and minus infinity
#   where all are below -104. Softmax over the same logits is right.
# Versions: pnnx 20261020, ncnn 1.0.20261020, onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6 (CPU, float32)
# Date: 2026-11-28
# Output:
#   two logits of 80: onnxruntime 80.69, ncnn 80.69
#   two logits of 90: onnxruntime 90.69, ncnn inf
#   two logits of -80: onnxruntime -79.31, ncnn -79.31
#   two logits of -110: onnxruntime -109.31, ncnn -inf
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
for logit in (80, 90, -80, -110):
    values = np.full((1, 2, 2, 2), logit, np.float32)
    node = helper.make_node("ReduceLogSumExp", ["c"], ["y"], axes=[1], keepdims=1)
    expected, found = both(after_convolution(node), values, {"unit": unit}, [1, 1, 2, 2])
    print(f"two logits of {logit}: onnxruntime {expected.max():.2f}, ncnn {found.max():.2f}")
    assert np.allclose(expected, logit + np.log(2), atol=1e-3)
    if abs(logit) == 80:
        assert np.allclose(found, expected, atol=1e-3)
    else:
        assert np.array_equal(found, np.full_like(found, np.sign(logit) * np.inf))
    softmax = helper.make_node("Softmax", ["c"], ["y"], axis=1)
    assert np.allclose(both(after_convolution(softmax), values, {"unit": unit}, values.shape)[1], 0.5)
PY
