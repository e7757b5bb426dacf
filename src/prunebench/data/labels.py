"""YOLO label files: where they lie and what they may say."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from prunebench.common.errors import DatasetError
from prunebench.data.file_memo import FileMemo

_TOLERANCE: Final = 0.01  # Ultralytics clips coordinates that lie this far outside 0..1


def labels_of(image: Path) -> Path:
    """The label file of an image; it need not exist: an image without one shows background."""
    return Path(label_path(str(image)))


def label_path(image: str) -> str:
    """``labels_of`` as text: the last folder ``images`` becomes ``labels``, the suffix ``.txt``."""
    path = f"{os.sep}labels{os.sep}".join(image.rsplit(f"{os.sep}images{os.sep}", 1))
    return path.rpartition(".")[0] + ".txt"


def check_labels(file: str, memo: FileMemo, *, classes: int, task: str | None) -> int:
    """Number of objects in a label file, 0 where there is none; ``segment`` needs polygons.

    Errors are those of ``read_labels`` and, for ``segment``, of ``read_polygons``.
    """
    digest = memo.digest(file)
    if digest is None:
        return 0
    facts = memo.labels.get(digest)
    if facts is None or facts[1] >= classes:
        rows = _read_rows(Path(file), classes)
        highest = int(max((row[0] for row in rows), default=-1))
        facts = memo.labels[digest] = [len(rows), highest, bool(rows) and len(rows[0]) != 5]
    objects, _, polygons = facts
    if objects and task == "segment" and not polygons:
        raise _no_polygons(Path(file))
    return objects


def read_labels(file: Path, *, classes: int) -> NDArray[np.float64]:
    """Read a YOLO label file; polygons become the boxes around them.

    Returns:
        One row ``(class id, centre x, centre y, width, height)`` per object, shape ``(n, 5)``,
        relative to the image.

    Raises:
        DatasetError: A line is neither a box nor a polygon, a class id is unknown, or a coordinate
            lies outside 0..1.
    """
    rows = _read_rows(file, classes)
    boxes = [row if len(row) == 5 else _box_around(row) for row in rows]
    return np.array(boxes, dtype=np.float64).reshape(-1, 5)


def read_polygons(
    file: Path, *, classes: int
) -> tuple[NDArray[np.float64], list[NDArray[np.float32]]]:
    """The rows of ``read_labels`` of a segmentation dataset's label file, and the outline of each.

    Outlines have the shape ``(points, 2)``, relative to the image.

    Raises:
        DatasetError: As ``read_labels``, or the file holds boxes.
    """
    rows = _read_rows(file, classes)
    if rows and len(rows[0]) == 5:
        raise _no_polygons(file)
    boxes = np.array([_box_around(row) for row in rows], dtype=np.float64).reshape(-1, 5)
    return boxes, [np.array(row[1:], dtype=np.float32).reshape(-1, 2) for row in rows]


def _no_polygons(file: Path) -> DatasetError:
    return DatasetError(
        "the label file holds boxes, but a segmentation model needs polygons",
        where=file,
        fix="give a segmentation dataset, or a detection model",
    )


def _read_rows(file: Path, classes: int) -> list[list[float]]:
    """The class and the coordinates of every line: all boxes, or all polygons."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError("the label file cannot be read", where=file) from error
    rows: list[list[float]] = []
    columns = set()
    for number, line in enumerate(lines, start=1):
        if line.strip():
            row = _parse_label(line, f"{file}, line {number}", classes)
            columns.add("box" if len(row) == 5 else "polygon")
            rows.append(row)
    if len(columns) > 1:
        raise DatasetError(
            "the label file mixes boxes and polygons", where=file, fix="use one kind per file"
        )
    return rows


def _parse_label(line: str, where: str, classes: int) -> list[float]:
    try:
        row = [float(text) for text in line.split()]
    except ValueError:
        what, fix = "the label is not made of numbers", "write: class x y width height"
        raise DatasetError(what, where=where, fix=fix) from None
    outside = [value for value in row[1:] if not -_TOLERANCE <= value <= 1 + _TOLERANCE]
    if len(row) == 5:
        outside += sorted(value for value in row[3:] if value < 0)
    if len(row) != 5 and (len(row) < 7 or len(row) % 2 == 0):
        what = f"the label has {len(row)} columns"
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
