#!/usr/bin/env bash
# Question: does ONNX's SpaceToDepth (the Focus stem of YOLOv5's early releases, reorganising layers of YOLOv2) keep
#   its channel order through pnnx and ncnn?
# Guess: yes: both tools have a layer for it.
# Seen: it becomes torch's PixelUnshuffle, whose channels come in another order (channel first, then the place in the
#   block, where ONNX puts the place first): every channel but the first and the last of two is another one. One
#   channel in, as a quick test might have it, comes out right.
# Versions: pnnx 20261020, ncnn 1.0.20261020, onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6 (CPU, float32)
# Date: 2026-11-28
# Output:
#   1 channels: onnxruntime [0, 1, 2, 3]
#   1 channels: ncnn        [0, 1, 2, 3]
#   2 channels: onnxruntime [0, 4, 1, 5, 2, 6, 3, 7]
#   2 channels: ncnn        [0, 1, 2, 3, 4, 5, 6, 7]
#   3 channels: onnxruntime [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]
#   3 channels: ncnn        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
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


for channels in (1, 2, 3):
    values = np.arange(channels * 4, dtype=np.float32).reshape(1, channels, 2, 2)
    node = helper.make_node("SpaceToDepth", ["c"], ["y"], blocksize=2)
    constants = {"unit": np.eye(channels, dtype=np.float32)[:, :, None, None]}
    expected, found = both(after_convolution(node), values, constants, [1, channels * 4, 1, 1])
    print(f"{channels} channels: onnxruntime {expected.ravel().astype(int).tolist()}")
    print(f"{channels} channels: ncnn        {found.ravel().astype(int).tolist()}")
    unshuffled = values.reshape(channels, 4)  # the places of a block behind each other, per channel
    assert np.array_equal(found.ravel(), unshuffled.ravel())
    assert np.array_equal(expected.ravel(), unshuffled.T.ravel())
PY
