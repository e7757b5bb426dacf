#!/usr/bin/env bash
# Question: do OpenVINO and onnxruntime choose the same detections where scores tie (an NMS-free head's
#   TopK over INT8 scores) or where two boxes overlap by exactly the NMS threshold?
# Guess: yes: the lower index first among equal scores, as ONNX says of TopK, and as many boxes
#   left by NMS (onnxruntime removes what overlaps by MORE than the threshold).
# Seen: TopK's values agree, its indices do not: OpenVINO orders ties otherwise and, where the tie is at
#   the cut, keeps other anchors. Its NonMaxSuppression removes a box AT the threshold; onnxruntime
#   keeps it. Both repeat their own choice exactly.
# Versions: openvino 2026.4.1, onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6 (CPU, f32 asked for)
# Date: 2026-11-28
# Output:
#   TopK values equal: True
#   TopK onnxruntime, lower index first: True
#   TopK OpenVINO: 12 of 300 places agree, 8 anchors replaced
#   NMS at 0.5, overlap exactly 0.5: onnxruntime keeps [0, 1], OpenVINO [0]
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


def both(nodes, inputs, outputs, constants):
    infos = [
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in group]
        for group in ([(n, TensorProto.FLOAT, v.shape) for n, v in inputs.items()], outputs)
    ]
    stored = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "choice", *infos, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    data = model.SerializeToString()
    compiled = ov.Core().compile_model(
        ov.Core().read_model(data), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    runs = []
    for _ in range(2):
        result = compiled(list(inputs.values()))
        runs.append([result[index].copy() for index in range(len(outputs))])
    assert all(np.array_equal(a, b) for a, b in zip(*runs, strict=True))
    return ort.InferenceSession(data).run(None, inputs), runs[0]


# 8400 anchors of a 640x640 input; scores on the 256 levels of an INT8 head.
scores = (np.random.default_rng(0).integers(0, 256, (1, 8400)) / 256).astype(np.float32)
reference, other = both(
    [helper.make_node("TopK", ["scores", "k"], ["values", "indices"])],
    {"scores": scores},
    [("values", TensorProto.FLOAT, [1, 300]), ("indices", TensorProto.INT64, [1, 300])],
    {"k": np.array([300])},
)
stable = np.argsort(-scores[0], kind="stable")[:300]
missing = len(set(stable) - set(other[1][0].tolist()))
print("TopK values equal:", np.array_equal(reference[0], other[0]))
print("TopK onnxruntime, lower index first:", np.array_equal(reference[1][0], stable))
print(f"TopK OpenVINO: {(other[1][0] == stable).sum()} of 300 places agree, {missing} anchors replaced")
assert np.array_equal(reference[0], other[0]) and np.array_equal(reference[1][0], stable)
assert missing > 0 and (other[1][0] != stable).mean() > 0.5

boxes = np.array([[[0, 0, 10, 10], [0, 0, 10, 5]]], np.float32)
reference, other = both(
    [helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "iou", "score"], ["kept"])],
    {"boxes": boxes, "scores": np.array([[[0.9, 0.8]]], np.float32)},
    [("kept", TensorProto.INT64, ["kept", 3])],
    {"most": np.array([10]), "iou": np.array([0.5], np.float32), "score": np.array([0.25], np.float32)},
)
kept = [group[0][:, 2].tolist() for group in (reference, other)]
print(f"NMS at 0.5, overlap exactly 0.5: onnxruntime keeps {kept[0]}, OpenVINO {kept[1]}")
assert kept == [[0, 1], [0]]
PY
