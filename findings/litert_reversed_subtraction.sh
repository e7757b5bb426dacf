#!/usr/bin/env bash
# Question: does `1 - x` stay what it is when litert-torch writes a TFLite file, as in an inverted map or a gate?
# Guess: yes.
# Seen: behind a convolution or a depthwise convolution it becomes `x - 1`: every sign is turned, without a word. So in
#   the float file already. Right behind a linear layer, an activation or nothing, and written as `-x + 1`.
# Versions: litert-torch 0.10.0, ai-edge-litert 2.3.0, litert-converter 0.5.0, torch 2.14.1, numpy 2.4.6
# Date: 2026-11-29
# Output:
#   1 - convolution: [-10. -10. -10. -10.] in torch, [10. 10. 10. 10.] in LiteRT
#   1 - depthwise convolution: [ 1.   0.5  0.  -3. ] in torch, [-1.  -0.5  0.   3. ] in LiteRT
#   1 - linear: [ 0.5 -4.   0.5 -4. ] in torch, [ 0.5 -4.   0.5 -4. ] in LiteRT
#   -convolution + 1: [-10. -10. -10. -10.] in torch, [-10. -10. -10. -10.] in LiteRT
#   convolution - 1: [10. 10. 10. 10.] in torch, [10. 10. 10. 10.] in LiteRT
#   1 - sigmoid(convolution): [0. 0. 0. 0.] in torch, [0. 0. 0. 0.] in LiteRT
#   1 - x: [ 1.    0.75  0.5  -1.  ] in torch, [ 1.    0.75  0.5  -1.  ] in LiteRT
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet litert-torch==0.10.0 ai-edge-litert==2.3.0 litert-converter==0.5.0 torch==2.14.1 numpy==2.4.6
venv/bin/python - 2>/dev/null <<'PY'
import contextlib
import io

import litert_torch
import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter
from torch import nn


class Network(nn.Module):
    """A layer with the weight 2 and the bias 0, and a formula behind it."""

    def __init__(self, layer, formula):
        super().__init__()
        self.layer, self.formula = layer, formula
        for parameter in layer.parameters():
            nn.init.constant_(parameter, 2 if parameter.ndim > 1 else 0)

    def forward(self, image):
        return self.formula(self.layer(image))


def converted(network, image):
    with contextlib.redirect_stdout(io.StringIO()):
        litert_torch.convert(network, (image,)).export("file.tflite")
    interpreter = Interpreter("file.tflite", num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image.numpy())
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


image = torch.tensor([0.0, 0.25, 0.5, 2.0]).reshape(1, 1, 2, 2)
convolution, grouped, linear = nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 1, groups=2), nn.Linear(2, 1)
for name, layer, formula, right in [
    ("1 - convolution", convolution, lambda x: 1 - x, False),
    ("1 - depthwise convolution", grouped, lambda x: 1 - x, False),
    ("1 - linear", linear, lambda x: 1 - x, True),
    ("-convolution + 1", convolution, lambda x: -x + 1, True),
    ("convolution - 1", convolution, lambda x: x - 1, True),
    ("1 - sigmoid(convolution)", convolution, lambda x: 1 - x.sigmoid(), True),
    ("1 - x", nn.Identity(), lambda x: 1 - x, True),
]:
    network, given = Network(layer, formula).eval(), image.repeat(1, 2, 1, 1)
    with torch.no_grad():
        expected = network(given).numpy()
    found = converted(network, given)
    print(f"{name}: {expected.ravel()[:4].round(3)} in torch, {found.ravel()[:4].round(3)} in LiteRT")
    assert np.allclose(expected, found, atol=1e-5) == right
PY
