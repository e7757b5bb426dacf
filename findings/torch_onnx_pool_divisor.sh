#!/usr/bin/env bash
# Question: does torch.onnx.export keep the divisor_override of an average pooling, which ONNX's AveragePool does not have?
# Guess: it multiplies behind the pooling, or refuses, as torch 2.0 did (issue 105349).
# Seen: both exporters, the default one (dynamo=True) and that from TorchScript, drop it without a word: sums over windows
#   (a divisor of 1, as for counting the cells of a mask, or a box filter) become means.
# Versions: torch 2.14.1, onnxscript 0.7.2, onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6
# Date: 2026-11-28
# Output:
#   divisor 1: 9.0 in torch, 1.0 with dynamo=True, 1.0 with dynamo=False
#   divisor 2: 4.5 in torch, 1.0 with dynamo=True, 1.0 with dynamo=False
#   divisor 9: 1.0 in torch, 1.0 with dynamo=True, 1.0 with dynamo=False
#   divisor None: 1.0 in torch, 1.0 with dynamo=True, 1.0 with dynamo=False
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.14.1 onnxscript==0.7.2 onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
venv/bin/python - <<'PY'
import contextlib
import io

import onnxruntime as ort
import torch
from torch import nn


def exported(network, image, dynamo):
    file = io.BytesIO()
    with contextlib.redirect_stdout(io.StringIO()):
        torch.onnx.export(network, (image,), file, dynamo=dynamo)
    session = ort.InferenceSession(file.getvalue())
    return session.run(None, {session.get_inputs()[0].name: image.numpy()})[0]


image = torch.ones(1, 1, 6, 6)
for divisor in (1, 2, 9, None):
    network = nn.AvgPool2d(3, divisor_override=divisor).eval()
    expected = network(image)[0, 0, 0, 0].item()
    found = exported(network, image, True)[0, 0, 0, 0].item()
    old = exported(network, image, False)[0, 0, 0, 0].item()
    print(f"divisor {divisor}: {expected} in torch, {found} with dynamo=True, {old} with dynamo=False")
    assert found == old == 1 and expected == (9 / divisor if divisor else 1)
PY
