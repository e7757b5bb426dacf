"""A finished run of tiny real models, and a bare Python of a device that has nothing more."""

from __future__ import annotations

import importlib.util
import venv
from pathlib import Path

import yaml
from experiment_kit import bare_experiment
from latency_kit import IMGSZ, NC, write_detector, write_images
from report_kit import IMAGES, MIXED, make_run

from prunebench.common.records import FileRef
from prunebench.config.loading import Config
from prunebench.experiment.prepare import EXPERIMENT_FILE
from prunebench.results.run_folder import CONFIG_FILE, read_run_config, read_variants, save_variant

NAME = "20260102T000000-abc"
LATENCY = {
    "threads": (1,),
    "rounds_min": 3,
    "rounds_max": 3,
    "seconds": 0.05,
    "warmup": 1,
    "images": 2,
    "paced_seconds": 0.1,
}


def make_run_to_carry(home: Path, **changes: object) -> Path:
    """A run of a baseline and two variants whose ONNX files really run."""
    folder = home / NAME
    makers = (*MIXED[:2], next(maker for maker in MIXED if maker.name == "preserving-1"))
    make_run(folder, makers, threads=(1,), rounds=4, frames=4)
    for depth, variant in enumerate(read_variants(folder), start=1):
        assert variant.exported is not None
        onnx = folder / variant.exported.onnx.path
        write_detector(onnx, 2 * depth)
        exported = variant.exported.model_copy(
            update={"onnx": FileRef.of(onnx, folder), "imgsz": IMGSZ}
        )
        known = {"exported": exported, "checkpoint": None}
        save_variant(folder, variant.model_copy(update=known))
    values = read_run_config(folder).model_dump(mode="json")
    values["image"] = {"height": IMGSZ[0], "width": IMGSZ[1]}
    values["latency"] |= {**LATENCY, **changes}
    config = Config.model_validate(values)
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    (folder / CONFIG_FILE).write_text(text)
    home.joinpath("images").mkdir()
    images = [str(path) for path in write_images(home / "images", 2)]
    experiment = bare_experiment(
        config,
        folder,
        class_names={number: f"class {number}" for number in range(NC)},
        images=tuple(images) * (IMAGES // 2),
    )
    (folder / EXPERIMENT_FILE).write_text(experiment.model_dump_json())
    return folder


def bare_python(folder: Path, *packages: str) -> Path:
    """A Python of its own with numpy, onnxruntime and ``packages`` of this one, nothing else."""
    venv.create(folder, with_pip=False, symlinks=True)
    [site] = folder.glob("lib/python*/site-packages")
    for name in ("numpy", "onnxruntime", *packages):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        package = Path(spec.origin).parent
        beside = package.parent.glob(f"{name}-*.dist-info")
        # Shared libraries of a wheel lie beside it.
        for found in (package, *beside, *package.parent.glob(f"{package.name}*.libs")):
            site.joinpath(found.name).symlink_to(found)
    for found in package.parent.glob("opencv_python_headless*") if "cv2" in packages else ():
        if not site.joinpath(found.name).exists():
            site.joinpath(found.name).symlink_to(found)
    return folder / "bin" / "python"
