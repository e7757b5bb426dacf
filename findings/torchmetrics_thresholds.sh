#!/usr/bin/env bash
# Question: is the mAP of torchmetrics, which pycocotools computes for it, that of pycocotools on the same boxes?
# Guess: yes, to rounding: same matching, same ten overlaps, same 101 recalls.
# Seen: its thresholds are float32 numbers, most of them a little above or below their decimal ones. A box that overlaps
#   by exactly 0.6, as boxes of whole pixels do, is no match at 0.6: 0.2 in place of 0.3. A recall that is a hundredth,
#   as with 10, 20 or 50 objects in a class, misses or gains a place of the 101: up to 0.01 in a class, also for mAP50.
#   With thresholds given in float64 it is pycocotools' own number.
# Versions: torchmetrics 1.9.0, pycocotools 2.0.11, torch 2.14.1, torchvision 0.29.1, numpy 2.4.6
# Date: 2026-11-28
# Output:
#   10 of 10 objects, overlap 0.6: mAP 0.3000 in pycocotools, 0.2000 in torchmetrics, 0.3000 with its thresholds
#   6 of 10 objects, overlap 1: mAP 0.6040 in pycocotools, 0.5941 in torchmetrics, 0.6040 with its thresholds
#   7 of 10 objects, overlap 1: mAP 0.6931 in pycocotools, 0.7030 in torchmetrics, 0.6931 with its thresholds
#   49 of 50 objects, overlap 1: mAP 0.9802 in pycocotools, 0.9703 in torchmetrics, 0.9802 with its thresholds
#   5 of 7 objects, overlap 1: mAP 0.7129 in pycocotools, 0.7129 in torchmetrics, 0.7129 with its thresholds
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torchmetrics==1.9.0 pycocotools==2.0.11 torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
venv/bin/python - <<'PY'
import contextlib
import io

import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torchmetrics.detection import MeanAveragePrecision

TRUTH = [10.0, 20.0, 100.0, 100.0]  # x, y, width, height; one object an image


def by_pycocotools(boxes, objects):
    with contextlib.redirect_stdout(io.StringIO()):
        truth, found = COCO(), []
        truth.dataset = {
            "info": {},
            "images": [{"id": n} for n in range(1, objects + 1)],
            "categories": [{"id": 1}],
            "annotations": [
                {"id": n, "image_id": n, "category_id": 1, "bbox": TRUTH, "area": 1e4, "iscrowd": 0}
                for n in range(1, objects + 1)
            ],
        }
        truth.createIndex()
        for n, box in enumerate(boxes, 1):
            found.append({"image_id": n, "category_id": 1, "bbox": box, "score": 1 - n / 64})
        evaluation = COCOeval(truth, truth.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0]), evaluation.params


def by_torchmetrics(boxes, objects, **thresholds):
    metric = MeanAveragePrecision(box_format="xywh", backend="pycocotools", **thresholds)
    for n in range(1, objects + 1):
        box = boxes[n - 1 : n]
        found = {
            "boxes": torch.tensor(box).reshape(-1, 4),
            "scores": torch.full((len(box),), 1 - n / 64),
            "labels": torch.ones(len(box), dtype=torch.int64),
        }
        truth = {"boxes": torch.tensor([TRUTH]), "labels": torch.ones(1, dtype=torch.int64)}
        metric.update([found], [truth])
    return float(metric.compute()["map"])


smaller = [10.0, 20.0, 100.0, 60.0]
for hits, objects, box, expected, found in [
    (10, 10, smaller, 0.3, 0.2),
    (6, 10, TRUTH, 61 / 101, 60 / 101),
    (7, 10, TRUTH, 70 / 101, 71 / 101),
    (49, 50, TRUTH, 99 / 101, 98 / 101),
    (5, 7, TRUTH, 72 / 101, 72 / 101),
]:
    boxes = [box] * hits
    right, params = by_pycocotools(boxes, objects)
    own = by_torchmetrics(boxes, objects)
    given = by_torchmetrics(
        boxes,
        objects,
        iou_thresholds=params.iouThrs.tolist(),
        rec_thresholds=params.recThrs.tolist(),
    )
    overlap = "0.6" if box is smaller else "1"
    print(
        f"{hits} of {objects} objects, overlap {overlap}: mAP {right:.4f} in pycocotools, "
        f"{own:.4f} in torchmetrics, {given:.4f} with its thresholds"
    )
    assert abs(right - expected) < 1e-4 and abs(given - right) < 1e-4 and abs(own - found) < 1e-4
PY
