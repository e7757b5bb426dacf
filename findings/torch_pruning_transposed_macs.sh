#!/usr/bin/env bash
# Question: does torch-pruning's count_ops_and_params count the multiply-accumulates of a ConvTranspose2d,
#   as in the mask branch (Proto) of YOLO segmentation networks?
# Guess: yes: a YOLO's total within 1 % of torch's FlopCounterMode and of Ultralytics' own count.
# Seen: it counts OUTPUT positions times the whole kernel, too many by the stride squared: 4 times at
#   stride 2, 16 times at stride 4. Convolutions are right, grouped ones too. (yolov8n-seg of
#   Ultralytics 8.4.190 at 640x640: 6.36 G against Ultralytics' own 6.07 G; yolov8n 4.40 and 4.43.)
# Versions: torch-pruning 1.6.1, torch 2.14.1, numpy 2.4.6
# Date: 2026-11-28
# Output:
#   Conv2d 3x3: torch 115,200, torch-pruning 115,200, 1 times
#   Conv2d 3x3, 4 groups: torch 28,800, torch-pruning 28,800, 1 times
#   ConvTranspose2d 2x2, stride 2: torch 51,200, torch-pruning 204,800, 4 times
#   ConvTranspose2d 4x4, stride 4: torch 204,800, torch-pruning 3,276,800, 16 times
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch-pruning==1.6.1 torch==2.14.1 numpy==2.4.6
venv/bin/python - <<'PY'
import torch
import torch_pruning as tp
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

image = torch.zeros(1, 8, 10, 10)
for name, layer, factor in (
    ("Conv2d 3x3", nn.Conv2d(8, 16, 3, padding=1, bias=False), 1),
    ("Conv2d 3x3, 4 groups", nn.Conv2d(8, 16, 3, padding=1, groups=4, bias=False), 1),
    ("ConvTranspose2d 2x2, stride 2", nn.ConvTranspose2d(8, 16, 2, 2, bias=False), 4),
    ("ConvTranspose2d 4x4, stride 4", nn.ConvTranspose2d(8, 16, 4, 4, bias=False), 16),
):
    network = nn.Sequential(layer)
    with FlopCounterMode(display=False) as counter:
        network(image)
    macs = counter.get_total_flops() // 2
    # Every weight meets every input position once; a 3x3 with padding keeps the positions.
    assert macs == 100 * layer.weight.numel(), macs
    counted = int(tp.utils.count_ops_and_params(network, image)[0])
    print(f"{name}: torch {macs:,}, torch-pruning {counted:,}, {counted / macs:g} times")
    assert counted == factor * macs
PY
