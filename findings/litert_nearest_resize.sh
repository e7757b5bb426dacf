#!/usr/bin/env bash
# Question: does a nearest Resize, the upsampling of YOLO's neck, stay what it is when litert-torch writes a TFLite file?
# Guess: yes: TFLite's operator without half_pixel_centers is torch's `nearest`.
# Seen: it becomes `nearest-exact`, which samples at the middle of a pixel: the same for whole factors upwards, another
#   pixel for all others: 13 to 25 rows (a neck on an image that is no multiple of 32), 1.5 times, and every
#   reduction, where the top left pixel of a block of two becomes the bottom right. No warning; all of LiteRT's kernels alike.
# Versions: litert-torch 0.10.0, ai-edge-litert 2.3.0, litert-converter 0.5.0, torch 2.14.1, numpy 2.4.6
# Date: 2026-11-28
# Output:
#   13 to 26 rows: 0% of the pixels are others
#   5 to 9 rows: 40% of the pixels are others ([0. 0. 1. 1. 2. 2. 3. 3. 4.] in torch, [0. 0. 1. 1. 2. 3. 3. 4. 4.] in LiteRT)
#   13 to 25 rows: 42% of the pixels are others
#   8 to 12 rows: 56% of the pixels are others
#   8 to 4 rows: 100% of the pixels are others ([0. 2. 4. 6.] in torch, [1. 3. 5. 7.] in LiteRT)
#   13 to 13 rows: 0% of the pixels are others
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
from torch.nn import functional


class Resize(nn.Module):
    def __init__(self, rows, mode):
        super().__init__()
        self.rows, self.mode = rows, mode

    def forward(self, image):
        return functional.interpolate(image, size=(self.rows, self.rows), mode=self.mode)


def converted(network, image):
    with contextlib.redirect_stdout(io.StringIO()):
        litert_torch.convert(network, (image,)).export("resize.tflite")
    interpreter = Interpreter("resize.tflite", num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image.numpy())
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


for before, after in [(13, 26), (5, 9), (13, 25), (8, 12), (8, 4), (13, 13)]:
    image = torch.arange(before * before, dtype=torch.float32).reshape(1, 1, before, before)
    found = converted(Resize(after, "nearest").eval(), image)
    expected, exact = (Resize(after, mode)(image).numpy() for mode in ("nearest", "nearest-exact"))
    other = np.mean(found != expected)
    rows = found[0, 0, :, 0] // before
    print(f"{before} to {after} rows: {other:.0%} of the pixels are others", end="")
    print(f" ({expected[0, 0, :, 0] // before} in torch, {rows} in LiteRT)" if after < 10 else "")
    assert (found == exact).all()
    assert other == 0 if after % before == 0 else other > 0.1
PY
