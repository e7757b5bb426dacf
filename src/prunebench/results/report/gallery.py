"""Pictures of the images that changed most, with what each variant finds on them.

The run keeps matches, not boxes, so the exported files look at a few images once more. What they
find is kept beside the report, so that it can be made again when the images are gone.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from prunebench.common.errors import PrunebenchError
from prunebench.common.files import write_atomically
from prunebench.common.records import Exported, Overlap, Record
from prunebench.common.variant_record import VariantRecord
from prunebench.measuring.map_bootstrap import load_detections
from prunebench.measuring.session import SessionSettings
from prunebench.results.ranking.classes import class_labels
from prunebench.results.report.stored import ReportedRun

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from prunebench.measuring.heads.detect import Drawing
    from prunebench.measuring.inference import OnnxNetwork

    Objects = tuple[NDArray[np.float64], list[NDArray[np.float32]]]

GALLERY_FILE = "gallery.json"
SCENES = 4
MOST_VARIANTS = 12
JPEG_QUALITY = 85


class Box(Record):
    """A labelled or detected object of a class, its upper left corner and size in pixels.

    An ``outline`` is drawn in place of the box, and ``dots`` with it: keypoints that are seen, by
    their place among all. ``score`` is a detection's confidence, and ``correct`` whether it matches
    a label at IoU 0.50; both are ``None`` for a label.
    """

    x: float
    y: float
    width: float
    height: float
    name: str
    outline: tuple[tuple[float, float], ...] = ()
    dots: tuple[tuple[int, float, float], ...] = ()
    score: float | None = None
    correct: bool | None = None


class Scene(Record):
    """One letterboxed image (base64, its size in pixels), with its labels.

    ``found`` are each variant's detections at the deployment's settings, ``keypoints`` how many an
    object has.
    """

    name: str
    jpeg: str
    width: int
    height: int
    truth: tuple[Box, ...]
    found: dict[str, tuple[Box, ...]]
    keypoints: int = 0


class Gallery(Record):
    """The scenes, and what they were made from."""

    key: str
    scenes: tuple[Scene, ...]


def gallery_of(run: ReportedRun) -> Gallery | None:
    """The run's gallery, made where it is not there yet.

    ``None`` where nothing changed, or where images or exported files are gone.
    """
    found = (run.variant(name) for name in run.names)
    shown = (v for v in found if v is not None and v.exported and v.accuracy)
    chosen = sorted(shown, key=lambda variant: variant is not run.baseline)[:MOST_VARIANTS]
    kept = run.folder / GALLERY_FILE
    key = _key(run, chosen)
    try:
        gallery = Gallery.model_validate_json(kept.read_text(encoding="utf-8"))
        if gallery.key == key:
            return gallery
    except (OSError, ValidationError):
        pass
    paths = changed_images(run, chosen)
    if not paths or not all(path.is_file() for path in paths):
        return None
    try:
        scenes = tuple(_scene(run, path, chosen) for path in paths)
    except PrunebenchError:
        return None
    gallery = Gallery(key=key, scenes=scenes)
    write_atomically(kept, gallery.model_dump_json())
    return gallery


def changed_images(run: ReportedRun, variants: Sequence[VariantRecord]) -> list[Path]:
    """The images on which most objects are lost against the baseline, worst first."""
    baseline = run.baseline
    if baseline is None or baseline not in variants or len(variants) < 2:
        return []
    files = {v.name: path for v in variants if (path := run.detections(v))}
    if len(files) < len(variants):
        return []
    with np.load(files[baseline.name]) as arrays:
        paths = [Path(str(path)) for path in arrays.get("paths", ())]
    metric: Overlap = "top1" if run.config.ranking.metric == "top1" else "box"
    confidence = run.config.latency.confidence
    counts = {name: _found(path, confidence, metric) for name, path in files.items()}
    before = counts[baseline.name]
    lost = np.sum([np.maximum(before - count, 0) for count in counts.values()], axis=0)
    order = np.argsort(-lost, kind="stable")[:SCENES]
    return [paths[index] for index in order if paths and lost[index] > 0]


def _found(path: Path, confidence: float, metric: Overlap) -> NDArray[np.int64]:
    """Objects found per image at the deployment's confidence; or whether its class is right."""
    detections = load_detections(path, metric)
    if metric == "top1":
        return detections.right(1).astype(np.int64)
    hits = detections.tp[:, 0] & (detections.confidence > confidence)
    return np.bincount(detections.image[hits], minlength=detections.images)


def _key(run: ReportedRun, variants: Sequence[VariantRecord]) -> str:
    latency = run.config.latency
    parts = [
        [(v.name, v.exported.onnx.sha256) for v in variants if v.exported],
        [v.accuracy.detections.sha256 for v in variants if v.accuracy],
        [latency.confidence, latency.iou, latency.max_det],
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _scene(run: ReportedRun, path: Path, variants: Sequence[VariantRecord]) -> Scene:
    import cv2

    from prunebench.data.labels import objects_of
    from prunebench.measuring.inference import OnnxNetwork, read_input

    imgsz = run.config.image.hw
    known = next(v.audit.structure.names for v in variants if v.audit is not None)
    names = class_labels(known)
    objects: Objects = (np.zeros((0, 5)), [])
    found: dict[str, tuple[Box, ...]] = {}
    session = SessionSettings.of(run.config.latency)
    for variant in variants:
        if variant.exported is None:
            continue
        file = run.folder / variant.exported.onnx.path
        network = OnnxNetwork(file, variant.exported.imgsz, session)
        head = network.head
        if not found:
            objects = objects_of(path, known, task=head.task, points=head.points)
        found[variant.name] = _found_in(path, run, network, variant.exported, objects, names)
    tensor, *frame = read_input(path, imgsz, head)
    truth = head.truth(*objects, (frame[0], frame[1]), imgsz)
    kinds = truth.rows[:, 0].astype(int)
    pixels = (tensor[0].transpose(1, 2, 0)[..., ::-1] * 255).round().astype(np.uint8)
    _, jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return Scene(
        name=path.name,
        jpeg=base64.b64encode(jpeg.tobytes()).decode("ascii"),
        width=imgsz[1],
        height=imgsz[0],
        truth=tuple(
            _box(drawing, name=names[int(kind)])
            for kind, drawing in zip(kinds, head.drawn(truth), strict=True)
        ),
        found=found,
        keypoints=0 if head.points is None else head.points[0],
    )


def _found_in(
    path: Path,
    run: ReportedRun,
    network: OnnxNetwork,
    exported: Exported,
    objects: Objects,
    names: Mapping[int, str],
) -> tuple[Box, ...]:
    """What a variant finds in its own letterbox, in pixels of the run's."""
    from prunebench.measuring.accuracy import match
    from prunebench.measuring.heads.detect import Rules
    from prunebench.measuring.inference import read_input

    latency, head = run.config.latency, network.head
    tensor, own, shift = read_input(path, exported.imgsz, head)
    rules = Rules(len(names), exported.imgsz, latency.confidence, latency.iou, latency.max_det)
    found = head.find(network(tensor), rules)
    truth = head.truth(*objects, (own, shift), exported.imgsz)
    kinds = found.rows[:, 5]
    correct = match(head.overlap(truth, found)[head.overlaps[0]], truth.rows[:, 0], kinds)[:, 0]
    _, shown, offset = read_input(path, run.config.image.hw, head)
    scale = float(shown[0] / own[0])
    move = offset[:2] - scale * shift[:2]
    return tuple(
        _box(
            drawing,
            scale,
            move,
            name=names[int(kind)],
            score=round(float(score), 2),
            correct=bool(hit),
        )
        for drawing, score, kind, hit in zip(
            head.drawn(found), found.rows[:, 4], kinds, correct, strict=True
        )
    )


def _box(
    drawing: Drawing, scale: float = 1.0, move: NDArray[np.float64] | float = 0.0, **what: Any
) -> Box:
    """A drawn object in pixels of the picture."""
    box, outline, points = (
        (scale * part.reshape(-1, 2).astype(np.float64) + move).round(1) for part in drawing
    )
    (x1, y1), (x2, y2) = box.tolist()
    seen = np.flatnonzero(np.isfinite(points).all(axis=1))
    return Box(
        x=x1,
        y=y1,
        width=round(x2 - x1, 1),
        height=round(y2 - y1, 1),
        outline=outline.tolist(),
        dots=tuple((int(place), *points[place].tolist()) for place in seen),
        **what,
    )
