#!/usr/bin/env bash
# Question: does an INT8 file in ORT format, converted with --optimization_style Runtime so that its optimisations are chosen
#   where it runs, run on integers in onnxruntime's own package?
# Guess (written down after the first run): yes: "extended minimal builds or full builds" apply what the file has saved, says
#   the documentation.
# Seen: until 1.29.0. From 1.30.0 on nothing saved is applied, whichever release wrote the file: every convolution runs in float
#   between QuantizeLinear and DequantizeLinear (slower than the float network), and in a float file activations are not fused.
#   No message; the same outputs to a step. The style Fixed is not affected. The mobile packages are not tried here.
# Versions: onnxruntime 1.32.0 and 1.29.0, onnx 1.23.2, numpy 2.4.6 (x86-64)
# Date: 2026-11-29
# Output:
#   1.29.0, Runtime, int8: 1 DequantizeLinear, 2 QLinearConv, 1 QuantizeLinear, 2 Transpose
#   1.29.0, Runtime, float: 1 Conv, 1 FusedConv
#   1.29.0, Fixed, int8: 1 DequantizeLinear, 2 QLinearConv, 1 QuantizeLinear, 2 Transpose
#   1.32.0, Runtime, int8: 2 Conv, 5 DequantizeLinear, 3 QuantizeLinear
#   1.32.0, Runtime, float: 2 Conv, 1 Relu
#   1.32.0, Fixed, int8: 1 DequantizeLinear, 2 QLinearConv, 1 QuantizeLinear, 2 Transpose
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for release in 1.32.0 1.29.0; do
  python3 -m venv $release
  $release/bin/pip install --quiet onnxruntime==$release onnx==1.23.2 numpy==2.4.6
done
export ORT_DISABLE_TELEMETRY=1
1.32.0/bin/python - 2> /dev/null <<'PY'
from types import SimpleNamespace

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_static

rng = np.random.default_rng(0)
images = iter([{"x": rng.normal(size=(1, 3, 32, 32)).astype(np.float32)} for _ in range(8)])
constants = {
    name: numpy_helper.from_array((rng.normal(size=shape) / 9).astype(np.float32), name)
    for name, shape in (("w1", (16, 3, 3, 3)), ("w2", (16, 16, 3, 3)))
}
nodes = [
    helper.make_node("Conv", ["x", "w1"], ["a"]),
    helper.make_node("Relu", ["a"], ["b"]),
    helper.make_node("Conv", ["b", "w2"], ["y"]),
]
ends = [helper.make_tensor_value_info(*end) for end in (("x", 1, [1, 3, 32, 32]), ("y", 1, [1, 16, 28, 28]))]
graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:], list(constants.values()))
imports = [helper.make_opsetid("", 17)]
onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), "float.onnx")
reader = SimpleNamespace(get_next=lambda: next(images, None))
quantize_static(
    "float.onnx", "int8.onnx", reader, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, per_channel=True
)
PY
for style in Runtime Fixed; do
  for file in int8 float; do
    1.32.0/bin/python -m onnxruntime.tools.convert_onnx_models_to_ort $file.onnx --output_dir $style --optimization_style $style > /dev/null 2>&1
  done
done
cat > kernels.py <<'PY'
"""Prints which kernels run for a file."""
import collections
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort

for path in sys.argv[1:]:
    options = ort.SessionOptions()
    options.enable_profiling = True
    session = ort.InferenceSession(path, options)
    session.run(None, {"x": np.zeros((1, 3, 32, 32), np.float32)})
    events = json.loads(Path(session.end_profiling()).read_text())
    ran = [event["args"]["op_name"] for event in events if event["name"].endswith("_kernel_time")]
    counts = ", ".join(f"{count} {name}" for name, count in sorted(collections.Counter(ran).items()))
    style, name = Path(path).parent.name, Path(path).name.split(".")[0]
    print(f"{ort.__version__}, {style}, {name}: {counts}")
    replayed = "QLinearConv" in ran if name == "int8" else "FusedConv" in ran
    assert replayed == (style == "Fixed" or ort.__version__ == "1.29.0")
PY
for release in 1.29.0 1.32.0; do
  $release/bin/python kernels.py Runtime/int8*.ort Runtime/float*.ort Fixed/int8*.ort
done
