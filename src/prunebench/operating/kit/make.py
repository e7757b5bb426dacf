"""A kit made of a finished run: its ONNX files, frames and protocol, and what measures them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from prunebench import __version__
from prunebench.common.errors import InputError, OutputError
from prunebench.common.variant_record import VariantRecord
from prunebench.experiment.inputs import Experiment
from prunebench.measuring.agent import FILES, MANIFEST
from prunebench.measuring.latency.rounds import Target, protocol_of
from prunebench.measuring.latency.sentinel import write_sentinel
from prunebench.operating.kit.modules import ROOT, carried_modules
from prunebench.operating.rebenchmark import read_source

FORMAT = 2
"""What a kit and its results are made of; another one is not read."""

START = """\
import importlib.util
import sys

if sys.version_info < (3, 10) or sys.maxsize < 2**32:
    sys.stderr.write("Not measured: a 64-bit Python of 3.10 or newer is needed, this is not.\\n")
    sys.exit(2)
missing = [n for n in ("numpy", "onnxruntime") if importlib.util.find_spec(n) is None]
if missing:
    names = " ".join(missing)
    sys.stderr.write("Not measured: install first: python3 -m pip install " + names + "\\n")
    sys.exit(2)
from prunebench.measuring.agent import main

sys.exit(main())
"""


class Content(NamedTuple):
    """What a kit holds: its manifest, and the content of its files by their SHA-256."""

    manifest: dict[str, Any]
    files: dict[str, Path | bytes]


def write_kit(folder: Path, out: Path) -> Path:
    """Write the kit of a finished run; InputError where a file of the run is gone or changed."""
    content = content_of(*read_source(folder))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        pack(content, out, content.files)
    except OSError as error:
        what, fix = f"it cannot be written ({error.strerror})", "choose another file with -o"
        raise OutputError(what, where=out, fix=fix) from error
    return out


def content_of(experiment: Experiment, variants: tuple[VariantRecord, ...]) -> Content:
    """The content of a run's kit; InputError where there is nothing to measure."""
    folder, config = experiment.run_folder, experiment.config
    targets = [
        Target(
            v.name, folder / v.exported.onnx.path, v.exported.onnx.sha256, imgsz=v.exported.imgsz
        )
        for v in variants
        if v.exported is not None and v.failure is None
    ]
    if not targets:
        raise InputError("no variant of the run has an ONNX file", where=folder, fix="run again")
    files: dict[str, Path | bytes] = {target.sha256: target.onnx for target in targets}
    images = experiment.latency_images
    settings = config.latency.model_dump(mode="json")
    shared = {
        "realtime_fps": config.ranking.realtime_fps,
        "imgsz": config.image.hw,
        "nc": len(experiment.class_names),
        "seed": config.seed,
    }
    protocol = protocol_of(targets, images, settings, shared)
    for position, image in enumerate(images):
        content = _plain(image)
        protocol["images"][position] = _keep(content, files)
    with tempfile.TemporaryDirectory() as work:
        write_sentinel(Path(work) / "sentinel.onnx")
        sentinel = _keep((Path(work) / "sentinel.onnx").read_bytes(), files)
    sizes = {target.imgsz or config.image.hw for target in targets}
    manifest = {
        "format": FORMAT,
        "prunebench": __version__,
        "run": folder.name,
        "made_at": time.time(),
        "protocol": json.loads(json.dumps(protocol)),
        "settings": settings,
        "sentinel": sentinel,
        "inputs": {
            f"{height}x{width}": _keep(_letterboxed(images[0], (height, width)), files)
            for height, width in sorted(sizes)
            if images
        },
    }
    return Content({**manifest, "files": sorted(files)}, files)


def pack(content: Content, out: Path, files: Mapping[str, Path | bytes]) -> None:
    """Write a kit with these of its files under a temporary name, then rename it."""
    handle, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.")
    partial = Path(name)
    try:
        with (
            os.fdopen(handle, "wb") as stream,
            zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            archive.writestr("__main__.py", START)
            archive.writestr(MANIFEST, json.dumps(content.manifest, indent=1))
            for path in carried_modules().values():
                archive.write(path, f"prunebench/{path.relative_to(ROOT).as_posix()}")
            for sha256, source in files.items():
                found = source if isinstance(source, bytes) else source.read_bytes()
                archive.writestr(f"{FILES}/{sha256}", found)
        partial.chmod(0o755)
        partial.replace(out)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _keep(content: bytes, files: dict[str, Path | bytes]) -> str:
    sha256 = hashlib.sha256(content).hexdigest()
    files[sha256] = content
    return sha256


def _plain(image: Path) -> bytes:
    """An image file as OpenCV alone can read it anywhere."""
    if image.suffix.lower() != ".avif":
        return image.read_bytes()
    import cv2

    from prunebench.data.images import usable_image

    return cv2.imencode(".png", usable_image(image))[1].tobytes()


def _letterboxed(image: Path, imgsz: tuple[int, int]) -> bytes:
    """A frame in its letterbox, (1, 3, height, width) uint8 in a ``.npy``: a quarter of floats."""
    from prunebench.data.images import usable_image
    from prunebench.measuring.postprocess import letterbox

    pixels = np.rint(letterbox(usable_image(image), imgsz)[0] * 255).astype(np.uint8)
    stream = io.BytesIO()
    np.save(stream, pixels)
    return stream.getvalue()
