"""YOLO label files: where they lie and what they may say."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from prunebench.common.errors import DatasetError
from prunebench.data.class_folders import class_of
from prunebench.data.file_memo import FileMemo

Points = tuple[int, int] | None
"""Number of keypoints of an object and values of each, where a dataset has any."""

OUTLINED: Final = {
    "segment": ("a segmentation", "polygons", "a segmentation"),
    "obb": ("an oriented-box", "the corners of oriented boxes", "an oriented-box"),
}
"""Tasks whose labels are outlines: the model, what it needs, and the dataset."""

NO_SHAPE: Final = np.zeros((0, 2), dtype=np.float32)
_TOLERANCE: Final = 0.01  # Ultralytics clips coordinates that lie this far outside 0..1


def labels_of(image: Path) -> Path:
    """The label file of an image; it need not exist: an image without one shows background."""
    return Path(label_path(str(image)))


def label_path(image: str) -> str:
    """``labels_of`` as text: the last folder ``images`` becomes ``labels``, the suffix ``.txt``."""
    path = f"{os.sep}labels{os.sep}".join(image.rsplit(f"{os.sep}images{os.sep}", 1))
    return path.rpartition(".")[0] + ".txt"


def check_labels(
    file: str, memo: FileMemo, *, classes: int, task: str | None, points: Points = None
) -> int:
    """Number of objects in a label file, 0 where there is none.

    Errors are those of ``read_objects``.
    """
    digest = memo.digest(file)
    if digest is None:
        return 0
    facts = memo.labels.get(digest)
    keypoints = points if task == "pose" else None
    # Boxes, polygons, or keypoints of this number and these values.
    kind = 0 if keypoints is None else 100 * keypoints[0] + keypoints[1]
    if facts is None or facts[1] >= classes or (facts[2] if facts[2] > 1 else 0) != kind:
        rows = _read_rows(Path(file), classes, keypoints)
        highest = int(max((row[0] for row in rows), default=-1))
        facts = memo.labels[digest] = [len(rows), highest, kind or _are_polygons(rows)]
    if facts[0] and task in OUTLINED and not facts[2]:
        raise _no_polygons(Path(file), task)
    return facts[0]


def read_labels(file: Path, *, classes: int) -> NDArray[np.float64]:
    """Read a YOLO label file of boxes or polygons, which become the boxes around them.

    Returns one row ``(class id, centre x, centre y, width, height)`` per object, shape ``(n, 5)``,
    relative to the image; errors are those of ``read_objects``.
    """
    return read_objects(file, classes=classes)[0]


def read_objects(
    file: Path, *, classes: int, task: str = "detect", points: Points = None
) -> tuple[NDArray[np.float64], list[NDArray[np.float32]]]:
    """Read a YOLO label file: the box of each object, and what else a task's labels say of it.

    Returns rows as ``read_labels``, and one shape each, relative to the image: an outline or the
    corners of an oriented box, ``(points, 2)``, for ``segment`` and ``obb``; keypoints, by
    ``points`` their number and 2 or 3 values each (x, y and whether it is seen), for ``pose``.

    Raises:
        DatasetError: A line is not what the task needs, a class id is unknown, or a coordinate
            lies outside 0..1.
    """
    keypoints = points if task == "pose" else None
    rows = _read_rows(file, classes, keypoints)
    polygons = keypoints is None and _are_polygons(rows)
    if rows and task in OUTLINED and not polygons:
        raise _no_polygons(file, task)
    boxes = [_box_around(row) if polygons else row[:5] for row in rows]
    shapes = [np.array(row[1 if polygons else 5 :], dtype=np.float32) for row in rows]
    width = 2 if keypoints is None else keypoints[1]
    return (
        np.array(boxes, dtype=np.float64).reshape(-1, 5),
        [shape.reshape(-1, width) for shape in shapes],
    )


def objects_of(
    image: Path, names: Mapping[int, str], *, task: str, points: Points = None
) -> tuple[NDArray[np.float64], list[NDArray[np.float32]]]:
    """What an image is labelled with, as ``read_objects``; nothing where it has no label file.

    For ``classify`` that is the class of its folder, of all of the image.
    """
    if task == "classify":
        return np.array([[class_of(image, names), 0.5, 0.5, 1, 1]], dtype=np.float64), [NO_SHAPE]
    file = labels_of(image)
    if not file.is_file():
        return np.zeros((0, 5)), []
    return read_objects(file, classes=len(names), task=task, points=points)


def _are_polygons(rows: list[list[float]]) -> bool:
    return bool(rows) and len(rows[0]) != 5


def _no_polygons(file: Path, task: str) -> DatasetError:
    model, needed, dataset = OUTLINED[task]
    return DatasetError(
        f"the label file holds boxes, but {model} model needs {needed}",
        where=file,
        fix=f"give {dataset} dataset, or a detection model",
    )


def _read_rows(file: Path, classes: int, keypoints: Points) -> list[list[float]]:
    """The class and the numbers of every line: all boxes, all polygons, or all keypoints."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError("the label file cannot be read", where=file) from error
    rows: list[list[float]] = []
    columns = set()
    for number, line in enumerate(lines, start=1):
        if line.strip():
            row = _parse_label(line, f"{file}, line {number}", classes, keypoints)
            columns.add("box" if len(row) == 5 else "polygon")
            rows.append(row)
    if len(columns) > 1:
        raise DatasetError(
            "the label file mixes boxes and polygons", where=file, fix="use one kind per file"
        )
    return rows


def _parse_label(line: str, where: str, classes: int, keypoints: Points) -> list[float]:
    try:
        row = [float(text) for text in line.split()]
    except ValueError:
        what, fix = "the label is not made of numbers", "write: class x y width height"
        raise DatasetError(what, where=where, fix=fix) from None
    places, boxed = row[1:], len(row) == 5
    if keypoints is not None:
        count, width = keypoints
        boxed = len(row) == 5 + count * width
        # The third value of a keypoint says whether it is seen.
        places = row[1:5] + [value for i, value in enumerate(row[5:]) if i % width < 2]
    outside = [value for value in places if not -_TOLERANCE <= value <= 1 + _TOLERANCE]
    if boxed:
        outside += sorted(value for value in row[3:5] if value < 0)
    what = f"the label has {len(row)} columns"
    if keypoints is not None and not boxed:
        count, width = keypoints
        fix = (
            f"write {5 + count * width} (class x y width height, and {width} for each of "
            f"{count} keypoints), or correct kpt_shape in the data YAML"
        )
    elif not boxed and (len(row) < 7 or len(row) % 2 == 0):
        fix = "write 5 (class x y width height), or a class and at least 3 points"
    elif row[0] % 1 or not 0 <= row[0] < classes:
        what = f"class id {row[0]:g} is out of range 0..{classes - 1}"
        fix = "correct the label or the names in the data YAML"
    elif outside:
        what = f"the coordinate {outside[0]:g} lies outside 0..1"
        fix = "divide pixels by the image's width and height"
    else:
        return row
    raise DatasetError(what, where=where, fix=fix)


def _box_around(row: list[float]) -> list[float]:
    xs, ys = row[1::2], row[2::2]
    x1, x2, y1, y2 = min(xs), max(xs), min(ys), max(ys)
    return [row[0], (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]
