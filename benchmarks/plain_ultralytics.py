"""Does plain Ultralytics, in an environment without this package, use a pruned checkpoint?

    python benchmarks/plain_ultralytics.py

The shipped network is pruned here; a fresh virtual environment gets Ultralytics and what exporting
needs, at the locked versions, and nothing else. There the checkpoint is opened, validated on the
built-in scenes and exported, and the exported file is validated too. Its mAP50 is compared with
that of our own export of the same checkpoint by the same validator. Five minutes, most of them
for installing; exit status 1 where anything does not hold.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

from kit import CHECKPOINT, Claim, in_workspace, print_claims, show
from rich.console import Console

from prunebench.config.targets import parse_goal
from prunebench.data.dataset import resolve_dataset
from prunebench.steps.events import Stage
from prunebench.variants.export import export_onnx
from prunebench.variants.pruning.step import Request, run

ROOT = CHECKPOINT.parent.parent
PACKAGES = ("ultralytics", "onnx", "onnxslim", "onnxruntime", "opencv-python-headless")
IMGSZ = (96, 160)

THERE = """
import importlib.util, json, sys
from ultralytics import YOLO

checkpoint, ours, data = sys.argv[1:]
height, width = {imgsz}
model = YOLO(checkpoint)
parameters = sum(p.numel() for p in model.model.parameters())
asked = dict(data=data, imgsz=width, batch=1, workers=0, plots=False, verbose=False)
validated = model.val(rect=True, **asked).box.map50
exported = YOLO(checkpoint).export(format="onnx", imgsz=[height, width])
by_file = {{
    name: YOLO(path, task="detect").val(**{{**asked, "imgsz": [height, width]}}).box.map50
    for name, path in (("theirs", exported), ("ours", ours))
}}
present = [n for n in ("prunebench", "torch_pruning", "prefect") if importlib.util.find_spec(n)]
found = dict(parameters=parameters, map50=validated, by_file=by_file, present=present)
print("\\n" + json.dumps(found))
"""


def fresh_environment(folder: Path) -> Path:
    """Python of a new virtual environment with Ultralytics only."""
    venv.create(folder)
    python = folder / "bin" / "python"
    install = [ROOT / "scripts" / "uv", "pip", "install", "--quiet", "--python", python]
    subprocess.run([*install, "-c", "requirements.lock", *PACKAGES], cwd=ROOT, check=True)
    return python


def main(folder: Path, console: Console) -> int:
    """Prune here, use there, print the claims."""
    scenes = resolve_dataset("scenes", cache_dir=folder / "data")
    request = Request(
        checkpoint=str(CHECKPOINT),
        data_yaml=str(scenes.yaml),
        goal=parse_goal("0.05"),
        round_to=8,
        importance="magnitude",
        bn_batches=16,
        imgsz=IMGSZ,
    )
    pruned = run(request, folder, show)
    checkpoint = folder / pruned.checkpoint.path
    work = folder / "export"
    work.mkdir()
    ours = export_onnx(checkpoint, work, IMGSZ, opset=17)
    show(Stage(what="installing plain Ultralytics in a fresh environment"))
    python = fresh_environment(folder / "environment")
    command = [python, "-I", "-c", THERE.format(imgsz=IMGSZ), checkpoint, ours, scenes.yaml]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    files = found["by_file"]
    claims: list[Claim] = [
        (
            "none of our packages is there",
            ", ".join(found["present"]) or "none",
            not found["present"],
        ),
        (
            "it opens with the pruned structure",
            f"{found['parameters']:,} parameters, {pruned.structure.parameters:,} here",
            found["parameters"] == pruned.structure.parameters,
        ),
        ("it validates", f"mAP50 {found['map50']:.4f}", found["map50"] > 0.1),
        (
            "it exports, and the file is as accurate as ours",
            f"mAP50 {files['theirs']:.4f}, ours {files['ours']:.4f}",
            abs(files["theirs"] - files["ours"]) < 0.001,
        ),
    ]
    return print_claims(console, claims)


if __name__ == "__main__":
    in_workspace(main)
