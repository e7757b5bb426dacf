"""Does plain Ultralytics, in an environment without this package, use a pruned checkpoint?

    python benchmarks/plain_ultralytics.py [--epochs 8]

The shipped network is pruned here, and one for poses and one for oriented boxes, which are trained
for a few epochs before. A fresh virtual environment gets Ultralytics and what exporting
needs, at the locked versions, and nothing else. There the checkpoint is opened, validated on the
built-in scenes and exported, and the exported file is validated too. Its mAP50 is compared with
that of our own export of the same checkpoint by the same validator. Ten minutes, most of them for
training; exit status 1 where anything does not hold.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

from kit import CHECKPOINT, Claim, in_workspace, print_claims, show
from rich.console import Console

from prunebench.common.cores import usable_cores
from prunebench.config.targets import parse_goal
from prunebench.data.dataset import resolve_dataset
from prunebench.steps.events import Stage
from prunebench.variants.export import export_onnx
from prunebench.variants.pruning.step import Request, run
from prunebench.variants.retraining.baseline import Request as Baseline
from prunebench.variants.retraining.baseline import run as train

ROOT = CHECKPOINT.parent.parent
PACKAGES = ("ultralytics", "onnx", "onnxslim", "onnxruntime", "opencv-python-headless")
IMGSZ = (96, 160)

THERE = """
import importlib.util, json, sys
from ultralytics import YOLO

checkpoint, ours, data, task, height, width = sys.argv[1:]
height, width = int(height), int(width)

def figure(metrics):
    return metrics.top1 if task == "classify" else metrics.box.map50

model = YOLO(checkpoint)
parameters = sum(p.numel() for p in model.model.parameters())
asked = dict(data=data, imgsz=width, batch=1, workers=0, plots=False, verbose=False)
validated = figure(model.val(rect=True, **asked))
exported = YOLO(checkpoint).export(format="onnx", imgsz=[height, width])
size = width if task == "classify" else [height, width]
by_file = {
    name: figure(YOLO(path, task=task).val(**{**asked, "imgsz": size}))
    for name, path in (("theirs", exported), ("ours", ours))
}
present = [n for n in ("prunebench", "torch_pruning", "prefect") if importlib.util.find_spec(n)]
found = dict(parameters=parameters, accuracy=validated, by_file=by_file, present=present)
print("\\n" + json.dumps(found))
"""


def fresh_environment(folder: Path) -> Path:
    """Python of a new virtual environment with Ultralytics only."""
    venv.create(folder)
    python = folder / "bin" / "python"
    install = [ROOT / "scripts" / "uv", "pip", "install", "--quiet", "--python", python]
    subprocess.run([*install, "-c", "requirements.lock", *PACKAGES], cwd=ROOT, check=True)
    return python


def trained(task: str, data: Path, epochs: int, folder: Path) -> Path:
    """A network for a task, trained from random weights on 200 scenes."""
    request = Baseline(
        model=f"yolov8n-{task}.yaml",
        data_yaml=str(data),
        epochs=epochs,
        imgsz=IMGSZ[1],
        batch=8,
        threads=usable_cores(),
        image_hw=IMGSZ,
    )
    result = train(request, folder, show)
    return folder / result.checkpoint.path


def used_there(
    python: Path,
    checkpoint: Path,
    ours: Path,
    data: Path,
    task: str,
    imgsz: tuple[int, int] = IMGSZ,
) -> dict[str, Any]:
    """What plain Ultralytics finds of a checkpoint, of its export of it and of ours."""
    command = [python, "-I", "-c", THERE, checkpoint, ours, data, task, *map(str, imgsz)]
    folder = checkpoint.parent
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def claims_there(
    label: str, found: dict[str, Any], parameters: int, least: float, metric: str = "mAP50"
) -> list[Claim]:
    """What has to hold there of a pruned network with as many parameters here."""
    files = found["by_file"]
    return [
        (
            f"{label}: none of our packages is there",
            ", ".join(found["present"]) or "none",
            not found["present"],
        ),
        (
            f"{label}: it opens with the pruned structure",
            f"{found['parameters']:,} parameters, {parameters:,} here",
            found["parameters"] == parameters,
        ),
        (
            f"{label}: it validates",
            f"{metric} {found['accuracy']:.4f}",
            found["accuracy"] > least,
        ),
        (
            f"{label}: it exports, and the file is as accurate as ours",
            f"{metric} {files['theirs']:.4f}, ours {files['ours']:.4f}",
            abs(files["theirs"] - files["ours"]) < 0.001,
        ),
    ]


def claims_of(task: str, epochs: int, folder: Path, python: Path) -> list[Claim]:
    """Prune a network for a task here, use it there."""
    suffix = "" if task == "detect" else f"-{task}"
    spec = f"scenes{suffix}" if task == "detect" else f"scenes{suffix}:train=200"
    scenes = resolve_dataset(spec, cache_dir=folder / "data")
    work = folder / task
    source = CHECKPOINT if task == "detect" else trained(task, scenes.yaml, epochs, work / "train")
    request = Request(
        checkpoint=str(source),
        data_yaml=str(scenes.yaml),
        goal=parse_goal("0.05"),
        round_to=8,
        importance="magnitude",
        bn_batches=16,
        imgsz=IMGSZ,
    )
    (work / "export").mkdir(parents=True)
    pruned = run(request, work, show)
    checkpoint = work / pruned.checkpoint.path
    ours = export_onnx(checkpoint, work / "export", IMGSZ, opset=17)
    found = used_there(python, checkpoint, ours, scenes.yaml, task)
    least = 0.1 if task == "detect" else 0.0
    return claims_there(task, found, pruned.structure.parameters, least)


def main(folder: Path, console: Console) -> int:
    """Use a network for each task there, print the claims."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=8)
    epochs = parser.parse_args().epochs
    show(Stage(what="installing plain Ultralytics in a fresh environment"))
    python = fresh_environment(folder / "environment")
    tasks = ("detect", "pose", "obb")
    claims = [claim for task in tasks for claim in claims_of(task, epochs, folder, python)]
    return print_claims(console, claims)


if __name__ == "__main__":
    in_workspace(main)
