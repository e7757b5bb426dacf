"""A finished run of tiny real models, and a bare Python of a device that has nothing more."""

from __future__ import annotations

import venv
from collections.abc import Sequence
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import yaml
from experiment_kit import bare_experiment
from latency_kit import IMGSZ, NC, write_detector, write_images
from report_kit import IMAGES, MIXED, make_run

from prunebench.common.records import FileRef, Runtime
from prunebench.config.loading import Config
from prunebench.experiment.prepare import EXPERIMENT_FILE
from prunebench.measuring.session import SessionSettings
from prunebench.results.run_folder import (
    CONFIG_FILE,
    RUNTIMES_FOLDER,
    VARIANT_FILE,
    read_run_config,
    read_variants,
    save_variant,
)
from prunebench.variants.conversion import Request as Conversion
from prunebench.variants.conversion import run as convert

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


def make_run_to_carry(home: Path, runtimes: Sequence[str] = (), **changes: object) -> Path:
    """A run of a baseline and two variants whose ONNX files really run; the first in others too."""
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
    for name in runtimes:
        convert_baseline(folder, name, images)
    return folder


def convert_baseline(folder: Path, name: str, images: Sequence[str]) -> None:
    """The baseline of a run in another runtime, beside its variants."""
    baseline = read_variants(folder)[0]
    assert baseline.exported is not None
    home = f"{RUNTIMES_FOLDER}/baseline-{name}"
    (folder / home).mkdir(parents=True)
    asked = Conversion(
        onnx=str(folder / baseline.exported.onnx.path),
        runtime=Runtime(name=name, version="1"),
        imgsz=IMGSZ,
        classes=NC,
        images=tuple(images),
        box_tolerance_px=0.5,
        score_tolerance=0.005,
        integers=False,
        session=SessionSettings.of(read_run_config(folder).latency),
    )
    made = convert(asked, folder / home, lambda event: None)
    onnx = made.onnx.model_copy(update={"path": f"{home}/{made.onnx.path}"})
    exported = baseline.exported.model_copy(update={"onnx": onnx, "parity": made.parity})
    known = {"name": f"baseline-{name}", "parent": "baseline", "exported": exported}
    record = baseline.model_copy(update={**known, "runtime": made.runtime})
    (folder / home / VARIANT_FILE).write_text(record.model_dump_json())


def bare_python(folder: Path, *packages: str) -> Path:
    """A Python of its own with numpy, onnxruntime and ``packages`` of this one, nothing else."""
    venv.create(folder, with_pip=False, symlinks=True)
    [site] = folder.glob("lib/python*/site-packages")
    for name in ("numpy", "onnxruntime", *packages):
        for wheel in packages_distributions()[name]:
            installed = distribution(wheel)
            # Beside its package lie its shared libraries, and what it says of itself.
            for top in {file.parts[0] for file in installed.files or ()} - {"..", "__pycache__"}:
                if not site.joinpath(top).exists():  # Two of OpenCV's share a package.
                    site.joinpath(top).symlink_to(str(installed.locate_file(top)))
    return folder / "bin" / "python"
