#!/usr/bin/env bash
# Question: do a Pad of mode "wrap" (padding_mode="circular", for panoramas) and a Split into parts that are not equal (8 channels
#   in 3, torch's chunk) reach ncnn through pnnx?
# Guess: they do, or are refused: a Padding layer with three modes is all that ncnn has.
# Seen: "wrap" becomes zeros; and the last part of the Split has 3 channels where ONNX and torch leave 2. No message.
#   The other three modes are right, and so is a Split that names its sizes.
# Versions: pnnx 20261020, ncnn 1.0.20261020, onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6 (CPU, float32)
# Date: 2026-11-29
# Output:
#   Pad wrap: first row [3. 4. 1. 2. 3. 4. 1. 2.] in onnxruntime, [0. 0. 1. 2. 3. 4. 0. 0.] in ncnn
#   Pad constant: first row [0. 0. 1. 2. 3. 4. 0. 0.] in onnxruntime, [0. 0. 1. 2. 3. 4. 0. 0.] in ncnn
#   Pad edge: first row [1. 1. 1. 2. 3. 4. 4. 4.] in onnxruntime, [1. 1. 1. 2. 3. 4. 4. 4.] in ncnn
#   Pad reflect: first row [3. 2. 1. 2. 3. 4. 3. 2.] in onnxruntime, [3. 2. 1. 2. 3. 4. 3. 2.] in ncnn
#   Split in 3, sizes named: False: last part of 2 channels in onnxruntime, 3 in ncnn
#   Split in 3, sizes named: True: last part of 2 channels in onnxruntime, 2 in ncnn
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


unit = np.eye(8, dtype=np.float32)[:, :, None, None]
values = np.arange(1, 8 * 4 * 4 + 1, dtype=np.float32).reshape(1, 8, 4, 4)
for mode in ("wrap", "constant", "edge", "reflect"):
    pads = np.array([0, 0, 0, 2, 0, 0, 0, 2])
    nodes = after_convolution(helper.make_node("Pad", ["c", "p"], ["y"], mode=mode))
    expected, found = both(nodes, values, {"unit": unit, "p": pads}, [1, 8, 4, 8], 19)
    print(f"Pad {mode}: first row {expected[0, 0]} in onnxruntime, {found[0, 0]} in ncnn")
    assert np.array_equal(found, expected) == (mode != "wrap")
    assert mode != "wrap" or not found[:, :, :2].any()
for named in (False, True):
    how = {} if named else {"num_outputs": 3}
    split = helper.make_node("Split", ["c", "s"] if named else ["c"], ["a", "b", "d"], axis=1, **how)
    nodes = after_convolution(split, helper.make_node("Identity", ["d"], ["y"]))
    constants = {"unit": unit} | ({"s": np.array([3, 3, 2])} if named else {})
    expected, found = both(nodes, values, constants, [1, 2, 4, 4], 18)
    print(f"Split in 3, sizes named: {named}: last part of {len(expected)} channels in onnxruntime, {len(found)} in ncnn")
    assert (len(found) == len(expected)) == named
PY
