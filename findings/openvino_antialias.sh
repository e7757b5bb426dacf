#!/usr/bin/env bash
# Question: does OpenVINO honour ONNX Resize's `antialias` (opset 18), which puts a letterbox that
#   matches Pillow's downscaling into the graph?
# Guess: yes, as every kind of Resize: within 1e-4 of onnxruntime.
# Seen: the attribute is ignored without a word: the outputs are bit for bit those of antialias=0.
#   onnxruntime applies it.
# Versions: openvino 2026.4.1, onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6 (CPU, f32 asked for)
# Date: 2026-11-28
# Output:
#   linear antialias=0 onnxruntime: grey levels 7 to 248
#   linear antialias=0 openvino: grey levels 7 to 248
#   linear antialias=1 onnxruntime: grey levels 103 to 152
#   linear antialias=1 openvino: grey levels 7 to 248
#   cubic antialias=0 onnxruntime: grey levels 1 to 254
#   cubic antialias=0 openvino: grey levels 1 to 254
#   cubic antialias=1 onnxruntime: grey levels 108 to 147
#   cubic antialias=1 openvino: grey levels 1 to 254
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet openvino==2026.4.1 onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
import openvino as ov
from onnx import TensorProto, helper, numpy_helper

# Fine stripes, which a filter must average to grey.
image = np.zeros((1, 3, 720, 1280), np.float32)
image[..., ::2] = 255
results = {}
for mode in ("linear", "cubic"):
    for antialias in (0, 1):
        node = helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], mode=mode, antialias=antialias)
        graph = helper.make_graph(
            [node],
            "letterbox",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 720, 1280])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 192, 340])],
            [numpy_helper.from_array(np.array([1, 3, 192, 340]), "sizes")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        onnx.checker.check_model(model, full_check=True)
        data = model.SerializeToString()
        compiled = ov.Core().compile_model(
            ov.Core().read_model(data), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
        )
        results["openvino", mode, antialias] = compiled([image])[0]
        results["onnxruntime", mode, antialias] = ort.InferenceSession(data).run(None, {"x": image})[0]
        for runtime in ("onnxruntime", "openvino"):
            got = results[runtime, mode, antialias]
            print(f"{mode} antialias={antialias} {runtime}: grey levels {got.min():.0f} to {got.max():.0f}")
    same = {
        runtime: np.array_equal(results[runtime, mode, 0], results[runtime, mode, 1])
        for runtime in ("onnxruntime", "openvino")
    }
    assert same == {"onnxruntime": False, "openvino": True}, same
    apart = np.abs(results["openvino", mode, 0] - results["onnxruntime", mode, 0]).max()
    assert apart < 0.1, apart
PY
