#!/usr/bin/env bash
# Question: does openvino.convert_model keep the options of PyTorch's operators, as the ONNX exporter does?
# Guess: yes, or it refuses what it has no operator for, as it does with others.
# Seen: roi_align with sampling_ratio=-1, which is torchvision's default, gives zeros; softplus loses its beta; var and std know
#   only a correction of 0 and 1; round ignores its decimals; and integers divided with // are rounded towards zero: -9 // 2 is
#   -4. No message. From a torch.export program softplus is right, var and round are refused, roi_align and // as wrong.
#   sampling_ratio=0, which means the same, is right.
# Versions: OpenVINO 2026.4.1, torch 2.14.1, torchvision 0.29.1, numpy 2.4.6 (x86-64, f32 asked for)
# Date: 2026-11-29
# Output:
#   roi_align(sampling_ratio=-1): 83, 87, 163, 167 in torch, 0, 0, 0, 0 in OpenVINO
#   roi_align(sampling_ratio=0): 83, 87, 163, 167 in torch, 83, 87, 163, 167 in OpenVINO
#   softplus(beta=0.25): 1.715, 1.804, 1.896, 1.993, 2.092 in torch, 0.079, 0.1, 0.127, 0.16, 0.201 in OpenVINO
#   softplus(beta=1): 0.079, 0.1, 0.127, 0.16, 0.201 in torch, 0.079, 0.1, 0.127, 0.16, 0.201 in OpenVINO
#   var(correction=2): 0.208, 0.208, 0.208, 0.208 in torch, 0.156, 0.156, 0.156, 0.156 in OpenVINO
#   var(correction=1): 0.156, 0.156, 0.156, 0.156 in torch, 0.156, 0.156, 0.156, 0.156 in OpenVINO
#   round(decimals=1): -3.4, -3.1, -2.7, -2.4, -2.1 in torch, -3, -3, -3, -2, -2 in OpenVINO
#   int() // 2: -5, -5, -4, -4, -3 in torch, -5, -4, -4, -3, -3 in OpenVINO
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet openvino==2026.4.1 torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
venv/bin/python -W ignore - <<'PY'
import numpy as np
import openvino as ov
import torch
from torch import nn
from torch.nn.functional import softplus
from torchvision.ops import roi_align


class Network(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *given):
        return self.function(*given)


def shown(array):
    return ", ".join(f"{number:g}" for number in np.asarray(array, float).ravel()[:5].round(3))


core = ov.Core()
line = (torch.arange(-10, 10) / 4,)
regions = torch.arange(400.0).view(1, 1, 20, 20), torch.tensor([[0, 1.0, 2, 9, 10]])
for name, function, given, kept in (
    ("roi_align(sampling_ratio=-1)", lambda x, boxes: roi_align(x, boxes, 2), regions, False),
    ("roi_align(sampling_ratio=0)", lambda x, boxes: roi_align(x, boxes, 2, sampling_ratio=0), regions, True),
    ("softplus(beta=0.25)", lambda x: softplus(x, beta=0.25), line, False),
    ("softplus(beta=1)", lambda x: softplus(x), line, True),
    ("var(correction=2)", lambda x: x.view(4, 5).var(1, correction=2), line, False),
    ("var(correction=1)", lambda x: x.view(4, 5).var(1, correction=1), line, True),
    ("round(decimals=1)", lambda x: torch.round(x * 1.37, decimals=1), line, False),
    ("int() // 2", lambda x: x.mul(4).int() // 2, line, False),
):
    network = Network(function).eval()
    expected = network(*given).numpy()
    model = ov.convert_model(network, example_input=given)
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled([each.numpy() for each in given])[0]
    print(f"{name}: {shown(expected)} in torch, {shown(found)} in OpenVINO")
    assert np.allclose(found, expected, atol=1e-3) == kept
PY
