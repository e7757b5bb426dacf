#!/usr/bin/env bash
# Question: what does CalibrationMethod.Entropy of onnxruntime's quantize_static clip, in a map with outliers?
# Guess: most of the outliers, as it does in TensorRT, whose method it says it follows.
# Seen: nothing, whatever the images hold: its file is that of MinMax to the last byte, after more memory and time. It counts
#   values in 128 bins and looks for the best range in steps of bins from 128 on: one candidate, the whole range.
#   quantize_static has no option for the number of bins. The calibrator itself, with num_bins=2048, does clip. (The number of
#   bins was asked about in issue 9597, closed.)
# Versions: onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6
# Date: 2026-11-29
# Output:
#   MinMax: the input's range is 64.6 wide
#   Entropy: the input's range is 64.6 wide
#   Percentile: the input's range is 7.9 wide
#   Entropy's file is MinMax's: True
#   the calibrator with 128 bins: 64.6 wide
#   the calibrator with 2048 bins: 14.7 wide
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
venv/bin/python - <<'PY'
import contextlib
import io

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, quantize_static
from onnxruntime.quantization.calibrate import create_calibrator

rng = np.random.default_rng(0)
images = [rng.normal(size=(1, 3, 64, 64)).astype(np.float32) for _ in range(16)]
images[5][0, 0, 10, 10] = 60  # One outlier in 200,000 values.


class Images(CalibrationDataReader):
    def __init__(self):
        self.left = iter(images)

    def get_next(self):
        image = next(self.left, None)
        return None if image is None else {"x": image}


ends = [helper.make_tensor_value_info(*end) for end in (("x", 1, [1, 3, 64, 64]), ("y", 1, None))]
weights = (rng.normal(size=(8, 3, 3, 3)) / 5).astype(np.float32)
nodes = [
    helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
    helper.make_node("Relu", ["c"], ["y"]),
]
graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:], [numpy_helper.from_array(weights, "w")])
imports = [helper.make_opsetid("", 20)]
onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=9), "float.onnx")

written = {}
for method in (CalibrationMethod.MinMax, CalibrationMethod.Entropy, CalibrationMethod.Percentile):
    options = {"CalibPercentile": 99.99} if method is CalibrationMethod.Percentile else {}
    with contextlib.redirect_stdout(io.StringIO()):
        quantize_static("float.onnx", "int8.onnx", Images(), calibrate_method=method, extra_options=options)
    model = onnx.load("int8.onnx")
    scale = next(numpy_helper.to_array(kept) for kept in model.graph.initializer if kept.name == "x_scale")
    written[method.name] = open("int8.onnx", "rb").read()
    print(f"{method.name}: the input's range is {255 * float(scale):.1f} wide")
print("Entropy's file is MinMax's:", written["Entropy"] == written["MinMax"])
for bins in (128, 2048):
    with contextlib.redirect_stdout(io.StringIO()):
        calibrator = create_calibrator("float.onnx", calibrate_method=CalibrationMethod.Entropy, extra_options={"num_bins": bins})
        calibrator.collect_data(Images())
        low, high = calibrator.compute_data()["x"].range_value
    print(f"the calibrator with {bins} bins: {high - low:.1f} wide")
    assert (high - low > 60) == (bins == 128)
assert written["Entropy"] == written["MinMax"] != written["Percentile"]
PY
