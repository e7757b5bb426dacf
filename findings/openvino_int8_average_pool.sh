#!/usr/bin/env bash
# Question: does OpenVINO pad an AveragePool that counts its padding (torch's default) with zeros in an INT8 file, too?
# Guess: yes: the number that stands for zero there is the zero point.
# Seen: it pads with the number 0, whatever the zero point: with unsigned activations a border cell is averaged with the
#   lowest value of the range, with signed ones with its middle. Right only where the zero point is 0 (unsigned behind a
#   ReLU). The error at the border is 15 to 200 times onnxruntime's; inside the two agree.
# Versions: OpenVINO 2026.4.1, onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6 (x86-64)
# Date: 2026-11-29
# Output (mean error of the border against the float network, in parts of the mean output):
#   no activation, QUInt8, padding 1, counted: 0.02 in onnxruntime, 3.60 in OpenVINO
#   no activation, QInt8, padding 1, counted: 0.02 in onnxruntime, 0.36 in OpenVINO
#   SiLU, QUInt8, padding 1, counted: 0.03 in onnxruntime, 0.96 in OpenVINO
#   SiLU, QInt8, padding 1, counted: 0.03 in onnxruntime, 2.88 in OpenVINO
#   ReLU, QInt8, padding 1, counted: 0.02 in onnxruntime, 1.76 in OpenVINO
#   ReLU, QUInt8, padding 1, counted: 0.02 in onnxruntime, 0.02 in OpenVINO
#   SiLU, QUInt8, padding 1: 0.03 in onnxruntime, 0.03 in OpenVINO
#   SiLU, QUInt8, padding 0, counted: 0.03 in onnxruntime, 0.03 in OpenVINO
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet openvino==2026.4.1 onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
venv/bin/python - 2>/dev/null <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
import openvino as ov
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

SHAPE = (1, 3, 16, 16)
ACTIVATIONS = {
    "no activation": [("Identity", ["c"], "a")],
    "ReLU": [("Relu", ["c"], "a")],
    "SiLU": [("Sigmoid", ["c"], "s"), ("Mul", ["c", "s"], "a")],
}


def image(seed):
    return {"x": np.random.default_rng(seed).uniform(-1, 1, SHAPE).astype(np.float32)}


class Images(CalibrationDataReader):
    def __init__(self):
        self.images = iter([image(seed) for seed in range(8)])

    def get_next(self):
        return next(self.images, None)


def network(activation, padding, counted):
    """Convolution, activation, AvgPool2d(3, 1, padding), convolution."""
    generator = np.random.default_rng(0)
    weights = [generator.normal(0, 0.2, shape).astype(np.float32) for shape in [(8, 3, 3, 3), (8, 8, 1, 1)]]
    nodes = [helper.make_node("Conv", ["x", "w0"], ["c"], "first", pads=[1] * 4)]
    nodes += [helper.make_node(kind, read, [written], kind) for kind, read, written in ACTIVATIONS[activation]]
    how = {"kernel_shape": [3, 3], "pads": [padding] * 4, "count_include_pad": counted}
    nodes.append(helper.make_node("AveragePool", ["a"], ["p"], "pool", **how))
    nodes.append(helper.make_node("Conv", ["p", "w1"], ["y"], "second"))
    size = 14 + 2 * padding
    ends = [helper.make_tensor_value_info(*end) for end in [("x", 1, SHAPE), ("y", 1, (1, 8, size, size))]]
    stored = [numpy_helper.from_array(w, f"w{i}") for i, w in enumerate(weights)]
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def border(found, right):
    rim = np.ones(right.shape[-2:], bool)
    rim[1:-1, 1:-1] = False
    return np.abs(found - right)[..., rim].mean() / np.abs(right).mean()


core = ov.Core()
for activation, kind, padding, counted, good in [
    ("no activation", QuantType.QUInt8, 1, 1, False),
    ("no activation", QuantType.QInt8, 1, 1, False),
    ("SiLU", QuantType.QUInt8, 1, 1, False),
    ("SiLU", QuantType.QInt8, 1, 1, False),
    ("ReLU", QuantType.QInt8, 1, 1, False),
    ("ReLU", QuantType.QUInt8, 1, 1, True),
    ("SiLU", QuantType.QUInt8, 1, 0, True),
    ("SiLU", QuantType.QUInt8, 0, 1, True),
]:
    onnx.save(network(activation, padding, counted), "float.onnx")
    right = ort.InferenceSession("float.onnx").run(None, image(99))[0]
    quantize_static("float.onnx", "int.onnx", Images(), activation_type=kind, per_channel=True)
    expected = ort.InferenceSession("int.onnx").run(None, image(99))[0]
    compiled = core.compile_model("int.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    errors = [border(found, right) for found in (expected, compiled(image(99))[0])]
    print(f"{activation}, {kind.name}, padding {padding}{', counted' * counted}: ", end="")
    print(f"{errors[0]:.2f} in onnxruntime, {errors[1]:.2f} in OpenVINO")
    assert errors[1] < 1.1 * errors[0] if good else errors[1] > 5 * errors[0]
PY
