#!/usr/bin/env bash
# Question: does the NMS of Ultralytics keep the same of the same boxes whichever class they are of?
# Guess: yes: each class is moved by 7680 px so that no two meet, and float32 is enough for that.
# Seen: the last of 80 classes lies 600,000 px out, where float32 has steps of 1/16 px; the last of 601 (its own models
#   yolov8n-oiv7.pt and so on) 4.6 million, in steps of 1/2 px. The boxes are rounded to those steps before they are compared:
#   of crowded boxes of 6 px one in 40 (80 classes) or in 8 (601) is no longer kept, of 40 px one in 30 with 601
#   classes. With few classes nothing changes.
# Versions: ultralytics 8.4.190, torch 2.14.1, torchvision 0.29.1, numpy 2.4.6, opencv-python-headless 5.0.0.93
# Date: 2026-11-29
# Output:
#   boxes of 6 px kept as the first class and not: 0.0% in the last of 3, 2.3% in the last of 80, 13.1% in the last of 601
#   boxes of 40 px kept as the first class and not: 0.0% in the last of 3, 0.4% in the last of 80, 3.3% in the last of 601
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet ultralytics==8.4.190 torch==2.14.1 torchvision==0.29.1 numpy==2.4.6 opencv-python-headless==5.0.0.93
export YOLO_CONFIG_DIR="$folder" YOLO_OFFLINE=True
venv/bin/python - <<'PY'
import numpy as np
import torch
from ultralytics.utils.nms import non_max_suppression


def kept(boxes, scores, number, classes):
    """Which boxes (centre, width, height) NMS at 0.7 keeps when all are of that class."""
    output = torch.zeros(1, 4 + classes, len(boxes))
    output[0, :4] = torch.tensor(boxes).T
    output[0, 4 + number] = torch.tensor(scores)
    _, places = non_max_suppression(output, 0.001, 0.7, nc=classes, return_idxs=True)
    return set(places[0].flatten().tolist())


rng = np.random.default_rng(0)
for size in (6, 40):
    changed = dict.fromkeys((3, 80, 601), 0)
    total = 0
    for _ in range(100):
        objects = np.hstack((rng.uniform(20, 620, (20, 2)), size * rng.uniform(0.7, 1.3, (20, 2))))
        boxes = np.repeat(objects, 8, axis=0)
        boxes += rng.normal(0, 0.05, boxes.shape) * boxes[:, [2, 3, 2, 3]]
        boxes, scores = boxes.astype(np.float32), rng.uniform(0.1, 1, len(boxes)).astype(np.float32)
        first = kept(boxes, scores, 0, 3)
        total += len(first)
        for classes in changed:
            changed[classes] += len(first - kept(boxes, scores, classes - 1, classes))
    shares = {classes: 100 * count / total for classes, count in changed.items()}
    words = ", ".join(f"{share:.1f}% in the last of {classes}" for classes, share in shares.items())
    print(f"boxes of {size} px kept as the first class and not: {words}")
    assert shares[3] < 0.2 and shares[601] > 1 and (size == 40 or shares[80] > 0.5)
PY
