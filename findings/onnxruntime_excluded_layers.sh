#!/usr/bin/env bash
# Question: does a convolution that `nodes_to_exclude` of quantize_static left in float, since integers cost too much there,
#   run in float in onnxruntime?
# Guess: yes: its weights are float32 in the file, and onnx's own evaluator and OpenVINO keep them so.
# Seen: where it stands between quantised tensors, onnxruntime rounds its weights itself as it loads the file, to 8 bits with
#   one scale for all channels: worse than quantising it, per channel, in the first place; without a word, from
#   ORT_ENABLE_BASIC on, for 16-bit activations too. Between layers left in float it stays in float, so leaving out one more
#   helps both. The optimiser WeightBiasQuantization (pull requests 22969 and 25673); the documentation of quantization
#   and of graph optimisations does not name it.
# Versions: onnxruntime 1.32.0, OpenVINO 2026.4.1, onnx 1.23.2, numpy 2.4.6 (x86-64)
# Date: 2026-11-29
# Output (error of the output against the float network):
#   8 bits, 0 layer left out: 2.7% in the file, 2.7% in onnxruntime (WeightBiasQuantization off: 2.7%), 2.7% in OpenVINO; QLinearConv: 3 (3)
#   8 bits, 1 layer left out: 2.5% in the file, 3.8% in onnxruntime (WeightBiasQuantization off: 2.5%), 2.5% in OpenVINO; QLinearConv: 3 (2)
#   16 bits, 0 layer left out: 0.8% in the file, 0.8% in onnxruntime (WeightBiasQuantization off: 0.8%)
#   16 bits, 1 layer left out: 0.5% in the file, 3.1% in onnxruntime (WeightBiasQuantization off: 0.5%)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet onnxruntime==1.32.0 openvino==2026.4.1 onnx==1.23.2 numpy==2.4.6
venv/bin/python - 2>/dev/null <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
import openvino as ov
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

generator = np.random.default_rng(0)
SHAPE = (1, 3, 32, 32)
# Sizes of the second layer's channels, as folding a batch normalisation leaves them.
sizes = np.logspace(0, -1.5, 16)


def image(seed):
    return {"x": np.random.default_rng(seed).uniform(0, 1, SHAPE).astype(np.float32)}


class Images(CalibrationDataReader):
    def __init__(self):
        self.images = iter([image(seed) for seed in range(8)])

    def get_next(self):
        return next(self.images, None)


def network():
    """Three convolutions with a ReLU behind the first two; the third gives each channel back its size."""
    weights = [generator.normal(0, 0.2, shape) for shape in [(16, 3, 3, 3), (16, 16, 3, 3)]]
    weights[1] *= sizes[:, None, None, None]
    weights.append(np.diag(1 / sizes).reshape(16, 16, 1, 1))
    nodes, maps = [], "x"
    for index in range(3):
        pads = [int(index < 2)] * 4
        output = "y" if index == 2 else f"c{index}"
        nodes.append(helper.make_node("Conv", [maps, f"w{index}"], [output], f"conv{index}", pads=pads))
        if index < 2:
            maps = f"r{index}"
            nodes.append(helper.make_node("Relu", [output], [maps], f"relu{index}"))
    ends = [helper.make_tensor_value_info(*end) for end in [("x", 1, SHAPE), ("y", 1, (1, 16, 32, 32))]]
    stored = [numpy_helper.from_array(w.astype(np.float32), f"w{i}") for i, w in enumerate(weights)]
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def in_onnxruntime(file, **how):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = "optimised.onnx"
    found = ort.InferenceSession(file, options, **how).run(None, image(99))[0]
    kinds = [node.op_type for node in onnx.load("optimised.onnx").graph.node]
    return found, kinds.count("QLinearConv")


onnx.save(network(), "float.onnx")
right = ort.InferenceSession("float.onnx").run(None, image(99))[0]


def error(found):
    return np.abs(found - right).mean() / np.abs(right).mean()


off = {"disabled_optimizers": ["WeightBiasQuantization"]}
for bits, activations in [(8, QuantType.QUInt8), (16, QuantType.QUInt16)]:
    for left in [[], ["conv1"]]:
        kinds = {"activation_type": activations, "weight_type": QuantType.QInt8}
        quantize_static("float.onnx", "int.onnx", Images(), per_channel=True, nodes_to_exclude=left, **kinds)
        said = error(ReferenceEvaluator("int.onnx").run(None, image(99))[0])
        found, whole = in_onnxruntime("int.onnx")
        without, fewer = in_onnxruntime("int.onnx", **off)
        print(f"{bits} bits, {len(left)} layer left out: {said:.1%} in the file, {error(found):.1%} in onnxruntime", end="")
        print(f" (WeightBiasQuantization off: {error(without):.1%})", end="")
        if bits == 8:
            core = ov.Core()
            compiled = core.compile_model("int.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
            print(f", {error(compiled(image(99))[0]):.1%} in OpenVINO; QLinearConv: {whole} ({fewer})", end="")
            assert whole == 3 and fewer == 3 - len(left)
        print()
        assert abs(error(without) - said) < 0.001
        assert error(found) > 1.3 * said if left else abs(error(found) - said) < 0.001
PY
