#!/usr/bin/env bash
# Question: which session settings does `olive tune-session-params` find for an ONNX file with a fixed
#   image input, given lists of thread counts, execution modes and graph levels to try?
# Guess (written down after the first run): it times the file under each combination and writes the fastest.
# Seen: it times nothing. Every list is refused (its options take lists, the pass they go to takes one
#   integer). Without lists it feeds a tensor of shape (1, 1) to every file, whatever its input; the
#   first inference fails, and the command says "Inference session parameters are saved", writes {} and
#   exits with 0.
# Versions: olive-ai 0.13.0 (which imports requests without requiring it), onnxruntime 1.32.0
# Date: 2026-11-28
# Output:
#   with lists: exit 1, a list is no valid integer
#   without: exit 0, Inference session parameters are saved
#   its log: Invalid rank for input: images Got: 2 Expected: 4
#   written: {}
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export OLIVE_DISABLE_TELEMETRY=1
python3 -m venv venv
venv/bin/pip install --quiet olive-ai==0.13.0 onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6 requests==2.32.5
venv/bin/python - <<'PY'
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

weights = np.random.default_rng(0).normal(size=(16, 3, 3, 3)).astype(np.float32)
graph = helper.make_graph(
    [helper.make_node("Conv", ["images", "w"], ["y"], pads=[1] * 4)],
    "one",
    [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 16, 64, 64])],
    [numpy_helper.from_array(weights, "w")],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
onnx.save(model, "model.onnx")
PY
tune=(venv/bin/olive tune-session-params -m model.onnx --providers_list CPUExecutionProvider --log_level 1)
code=0
"${tune[@]}" -o lists --intra_thread_num_list 1 2 --execution_mode_list 0 1 >lists.log 2>&1 || code=$?
echo "with lists: exit $code, a list is no valid integer"
test "$code" -eq 1
grep -q "Input should be a valid integer .type=int_type, input_value=.1, 2., input_type=list" lists.log
"${tune[@]}" -o plain >plain.log 2>&1
echo "without: exit 0, $(grep -o "Inference session parameters are saved" plain.log)"
echo "its log: $(grep -o -m 1 "Invalid rank for input: images Got: 2 Expected: 4" plain.log)"
echo "written: $(cat plain/cpu-cpu.json)"
test "$(cat plain/cpu-cpu.json)" = "{}"
