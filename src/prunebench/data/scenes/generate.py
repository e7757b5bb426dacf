"""A set of scenes on disk, labelled as a task needs it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Literal

import cv2
import numpy as np

from prunebench.common.cores import usable_cores
from prunebench.common.errors import DatasetError
from prunebench.data.class_folders import write_class_folders_yaml
from prunebench.data.folder import label_line, make_once, polygon_line, write_data_yaml
from prunebench.data.scenes.drawing import SCENE_NAMES
from prunebench.data.scenes.scene import FLIPPED, KEYPOINTS, SceneObject, render_scene
from prunebench.steps.events import Progress, announce

GENERATOR_VERSION: Final = 1
"""Raise it with every change that alters an image or a label: older sets are then made again."""

SPLITS: Final = ("train", "val", "test")
_JPEG_QUALITY: Final = 95
_PROGRESS_EVERY: Final = 25  # scenes between two events, well under a second

Labels = Literal["boxes", "polygons", "keypoints", "corners", "classes"]
SETS: Final[dict[str, Labels]] = {
    "scenes": "boxes",
    "scenes-seg": "polygons",
    "scenes-pose": "keypoints",
    "scenes-obb": "corners",
    "scenes-classes": "classes",
}
"""What each of the built-in sets is labelled with."""


def generate_scenes(
    root: Path,
    *,
    train: int = 400,
    val: int = 100,
    test: int = 100,
    width: int = 320,
    height: int = 180,
    seed: int = 0,
    labels: Labels = "boxes",
) -> Path:
    """Write the scenes in Ultralytics' layout, or reuse a complete set with the same parameters.

    Returns the path of ``data.yaml``.

    Args:
        root: Folder of the set; may be absent. A set made with other parameters is replaced, a
            folder that holds anything else is refused.
        train: Number of images, as of ``val`` and ``test``.
        width: Image width in pixels, at least 64, as is ``height``.
        labels: What each object is labelled with: the box around what is visible of it, its
            outline, its outermost points, or the corners of the box that is turned as it is. Of
            ``classes`` a scene shows one object, in its middle square, and lies in a folder of the
            object's name.

    Raises:
        DatasetError: A parameter is out of range, or ``root`` holds something else.
    """
    counts = {"train": train, "val": val, "test": test}
    for split, count in counts.items():
        if count < 1:
            raise DatasetError(
                f"{split}={count} is no number of images", where="scenes", fix="use 1 or more"
            )
    if min(width, height) < 64:
        problem = f"a scene of {width}x{height} pixels is too small"
        raise DatasetError(problem, where="scenes", fix="use at least 64x64")
    if seed < 0:
        raise DatasetError(f"seed={seed} is negative", where="scenes", fix="use 0 or more")
    parameters: dict[str, Any] = {
        "generator_version": GENERATOR_VERSION,
        "opencv": cv2.__version__,
        "numpy": np.__version__,
        "counts": counts,
        "width": width,
        "height": height,
        "seed": seed,
    }
    if labels != "boxes":
        parameters["labels"] = labels
    return make_once(
        root, parameters, lambda folder: _write_set(folder, counts, width, height, seed, labels)
    )


def _write_set(
    root: Path, counts: dict[str, int], width: int, height: int, seed: int, labels: Labels
) -> None:
    by_class = labels == "classes"
    for split in SPLITS:
        kinds = SCENE_NAMES.values() if by_class else ("images", "labels")
        for kind in kinds:
            folder = root / split / kind if by_class else root / kind / split
            folder.mkdir(parents=True)

    def write(place: tuple[int, int]) -> None:
        split_index, index = place
        split = SPLITS[split_index]
        rng = np.random.default_rng([seed, split_index, index])
        image, objects = render_scene(rng, width=width, height=height, alone=by_class)
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        stem = f"{split}-{index:05d}"
        if by_class:
            name = SCENE_NAMES[objects[0].class_id]
            (root / split / name / f"{stem}.jpg").write_bytes(data.tobytes())
            return
        (root / "images" / split / f"{stem}.jpg").write_bytes(data.tobytes())
        lines = [_line(item, labels, width, height) for item in objects]
        (root / "labels" / split / f"{stem}.txt").write_text("".join(lines), encoding="utf-8")

    wanted = [(number, i) for number, split in enumerate(SPLITS) for i in range(counts[split])]
    # NumPy and OpenCV let other threads run while they compute.
    with ThreadPoolExecutor(usable_cores()) as pool:
        for done, _ in enumerate(pool.map(write, wanted)):
            if done % _PROGRESS_EVERY == 0:
                announce(Progress(done=done, total=len(wanted), unit="scenes"))
    if by_class:
        write_class_folders_yaml(root / "data.yaml", dict(enumerate(sorted(SCENE_NAMES.values()))))
        return
    more: dict[str, Any] = {}
    if labels == "keypoints":
        more = {"kpt_shape": [len(KEYPOINTS), 3], "flip_idx": list(FLIPPED)}
        more["kpt_names"] = {index: list(KEYPOINTS) for index in SCENE_NAMES}
    write_data_yaml(root, SPLITS, SCENE_NAMES, more)


def _line(item: SceneObject, labels: Labels, width: int, height: int) -> str:
    size = width, height
    if labels == "polygons":
        return polygon_line(item.class_id, item.polygon, *size)
    if labels == "corners":
        # A box that is cut by the image's border may reach over it.
        return polygon_line(item.class_id, item.corners.clip(0, size), *size)
    line = label_line(item.class_id, item.box, *size)
    if labels == "boxes":
        return line
    points = item.keypoints / (*size, 1)
    return f"{line.rstrip()} {' '.join(f'{x:.6f} {y:.6f} {seen:.0f}' for x, y, seen in points)}\n"
