#!/usr/bin/env bash
# Question: does a file quantized with onnxruntime's defaults (signed activations), its head left in float, still load
#   in onnxruntime when its opset is 21 or later (what torch's exporter writes today)?
# Guess: yes: the same tool wrote it, and a higher opset number changes nothing for these operators.
# Seen: up to opset 20 it does. From 21 on, where a Reshape, Transpose, Slice or Squeeze stands between the last
#   DequantizeLinear and an operator in float, loading fails on x86-64 at the default optimization level: the quantization
#   is moved behind the Reshape with a type written down (int8), and then made unsigned without it. It loads at
#   ORT_ENABLE_BASIC, with session.qdqisint8allowed, and with unsigned activations.
# Versions: onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6 (x86-64)
# Date: 2026-11-28
# Output:
#   opset 20, signed: loads
#   opset 21, signed: fails: output_dtype INT8 does not match y_zero_point type UINT8
#   opset 21, signed, basic optimizations: loads
#   opset 21, signed, int8 allowed: loads
#   opset 21, unsigned: loads
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
venv/bin/python - <<'PY'
import logging

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

logging.disable()
ort.set_default_logger_severity(4)


class Images(CalibrationDataReader):
    def __init__(self):
        self.left = iter(np.random.default_rng(0).normal(size=(4, 1, 3, 8, 8)).astype(np.float32))

    def get_next(self):
        image = next(self.left, None)
        return None if image is None else {"x": image}


def load(opset, kind=None, basic=False, allowed=False):
    ends = [helper.make_tensor_value_info("x", 1, [1, 3, 8, 8])]
    ends.append(helper.make_tensor_value_info("y", 1, [1, 16, 64]))
    weights = np.random.default_rng(1).normal(size=(16, 3, 1, 1)).astype(np.float32)
    constants = {"w": weights, "shape": np.array([1, 16, 64])}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("Reshape", ["c", "shape"], ["r"], name="reshape"),
        helper.make_node("Softmax", ["r"], ["y"], name="head", axis=1),
    ]
    kept = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:], kept)
    imports = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=10), "float.onnx")
    types = {} if kind is None else {"activation_type": kind}
    excluded = ["reshape", "head"]
    quantize_static("float.onnx", "int8.onnx", Images(), nodes_to_exclude=excluded, **types)
    onnx.checker.check_model("int8.onnx", full_check=True)
    options = ort.SessionOptions()
    if basic:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    if allowed:
        options.add_session_config_entry("session.qdqisint8allowed", "1")
    try:
        ort.InferenceSession("int8.onnx", options, providers=["CPUExecutionProvider"])
    except Exception as error:
        return "fails: " + str(error).strip().partition("] ")[2].rpartition("] ")[2].rstrip(".")
    return "loads"


found = {
    "opset 20, signed": load(20),
    "opset 21, signed": load(21),
    "opset 21, signed, basic optimizations": load(21, basic=True),
    "opset 21, signed, int8 allowed": load(21, allowed=True),
    "opset 21, unsigned": load(21, QuantType.QUInt8),
}
for what, result in found.items():
    print(f"{what}: {result}")
assert [result[:5] for result in found.values()] == ["loads", "fails", "loads", "loads", "loads"]
PY
