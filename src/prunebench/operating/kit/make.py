"""A kit made of a finished run: its ONNX files, frames and protocol, and what measures them."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import numpy as np

from prunebench import __version__
from prunebench.common.errors import InputError, OutputError
from prunebench.common.variant_record import VariantRecord
from prunebench.experiment.inputs import Experiment
from prunebench.experiment.measure_and_rank import targets_of
from prunebench.measuring.heads import head_for
from prunebench.measuring.heads.detect import Detect
from prunebench.measuring.latency.rounds import protocol_of
from prunebench.measuring.remote.pack import FORMAT, Content, keep, keep_sentinel, pack
from prunebench.operating.rebenchmark import read_source
from prunebench.results.outcome import read_outcome


def write_kit(folder: Path, out: Path) -> Path:
    """Write the kit of a finished run; InputError where it is not, or a file is gone or changed."""
    read_outcome(folder)
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
    targets = targets_of(folder, variants)
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
        protocol["images"][position] = keep(content, files)
    sizes = {target.imgsz or config.image.hw for target in targets}
    head = head_for(next((v.audit.structure.task for v in variants if v.audit), Detect.task))
    manifest = {
        "format": FORMAT,
        "prunebench": __version__,
        "run": folder.name,
        "made_at": time.time(),
        "protocol": json.loads(json.dumps(protocol)),
        "settings": settings,
        "sentinel": keep_sentinel(files),
        "inputs": {
            f"{height}x{width}": keep(_framed(images[0], (height, width), head), files)
            for height, width in sorted(sizes)
            if images
        },
    }
    return Content({**manifest, "files": sorted(files)}, files)


def _plain(image: Path) -> bytes:
    """An image file as OpenCV alone can read it anywhere."""
    if image.suffix.lower() != ".avif":
        return image.read_bytes()
    import cv2

    from prunebench.data.images import usable_image

    return cv2.imencode(".png", usable_image(image))[1].tobytes()


def _framed(image: Path, imgsz: tuple[int, int], head: Detect) -> bytes:
    """A frame as a head takes it, (1, 3, height, width), in 8 bits: a quarter of floats."""
    from prunebench.data.images import usable_image

    pixels = np.rint(head.framed(usable_image(image), imgsz)[0] * 255).astype(np.uint8)
    stream = io.BytesIO()
    np.save(stream, pixels)
    return stream.getvalue()
