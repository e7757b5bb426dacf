#!/usr/bin/env bash
# Question: what do CalibMaxIntermediateOutputs ("maximum number of intermediate outputs before an intermediate range is
#   computed") and CalibMovingAverageConstant ("constant smoothing factor") of onnxruntime's quantize_static do to the ranges?
# Guess: the first only saves memory; the second weighs later images.
# Seen: the first throws away each full group of images without looking at it: of 10 images in groups of 4 two count, and of as
#   many as fill the groups none ("No data is collected"). The second does nothing: the ends of the range are the plain means of
#   all images' smallest and largest values, for 0.01 as for 0.99, so that about half of the images are clipped. It is used only
#   with CalibStridedMinMax. Known for the first (issue 18893, pull requests 20226 and 32577, open since 2024).
# Versions: onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6
# Date: 2026-11-29
# Output:
#   the largest value of each image: [8, 1, 2, 3, 4, 5, 6, 7, 2, 3]
#   no option: 8.00
#   CalibMaxIntermediateOutputs=3: 3.00
#   CalibMaxIntermediateOutputs=4: 3.00
#   CalibMaxIntermediateOutputs=4, 8 images: No data is collected.
#   CalibMovingAverage=True, CalibMovingAverageConstant=0.01: 4.10
#   CalibMovingAverage=True, CalibMovingAverageConstant=0.5: 4.10
#   CalibMovingAverage=True, CalibMovingAverageConstant=0.99: 4.10
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
from onnxruntime.quantization import CalibrationDataReader, quantize_static

LARGEST = [8, 1, 2, 3, 4, 5, 6, 7, 2, 3]  # of each of ten images, in this order


class Images(CalibrationDataReader):
    def __init__(self, count):
        self.left = iter(LARGEST[:count])

    def get_next(self):
        largest = next(self.left, None)
        if largest is None:
            return None
        return {"x": np.linspace(0, largest, 64, dtype=np.float32).reshape(1, 1, 8, 8)}


ends = [helper.make_tensor_value_info(*end) for end in (("x", 1, [1, 1, 8, 8]), ("y", 1, None))]
weights = numpy_helper.from_array(np.ones((1, 1, 3, 3), np.float32), "w")
graph = helper.make_graph([helper.make_node("Conv", ["x", "w"], ["y"])], "graph", ends[:1], ends[1:], [weights])
imports = [helper.make_opsetid("", 20)]
onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=9), "float.onnx")


def largest(count=10, **options):
    """Where the range of the input ends in the quantized file."""
    with contextlib.redirect_stdout(io.StringIO()):
        quantize_static("float.onnx", "int8.onnx", Images(count), extra_options=options)
    kept = {each.name: numpy_helper.to_array(each) for each in onnx.load("int8.onnx").graph.initializer}
    return float(kept["x_scale"]) * (127 - float(kept["x_zero_point"]))


print(f"the largest value of each image: {LARGEST}")
print(f"no option: {largest():.2f}")
for limit in (3, 4):
    print(f"CalibMaxIntermediateOutputs={limit}: {largest(CalibMaxIntermediateOutputs=limit):.2f}")
try:
    largest(8, CalibMaxIntermediateOutputs=4)
except ValueError as refusal:
    print(f"CalibMaxIntermediateOutputs=4, 8 images: {refusal}")
    assert "No data" in str(refusal)
else:
    raise SystemExit("the behaviour has changed")
averages = []
for factor in (0.01, 0.5, 0.99):
    averages.append(largest(CalibMovingAverage=True, CalibMovingAverageConstant=factor))
    print(f"CalibMovingAverage=True, CalibMovingAverageConstant={factor}: {averages[-1]:.2f}")
assert abs(largest() - 8) < 0.01 and len(set(averages)) == 1 and abs(averages[0] - np.mean(LARGEST)) < 0.01
assert abs(largest(CalibMaxIntermediateOutputs=3) - 3) < 0.01
assert abs(largest(CalibMaxIntermediateOutputs=4) - 3) < 0.01
PY
