"""A real set: tree crowns in aerial photographs, out of a package that ships them (MIT licence).

Two photographs with hand-drawn boxes around crowns lie inside the wheel ``deepforest==2.1.0``
(National Ecological Observatory Network, site YELL). They are cut into tiles of 320x180 pixels:

- ``train`` and ``val`` come from the larger photograph. ``val`` is its bottom strip, three tiles
  high, and no training tile reaches into it. Training tiles overlap by half.
- ``test`` is the whole other photograph, cut into tiles that just cover it. Nothing is trained on
  it and no epoch is chosen by it.

A crown that a tile's border cuts is labelled, clipped to the tile, where at least 40 % of its box
lies inside; a smaller piece stays unlabelled background.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from prunebench.common.errors import DatasetError
from prunebench.common.records import sha256_of
from prunebench.data.folder import label_line, make_once, write_data_yaml
from prunebench.steps.events import stage

RECIPE_VERSION: Final = 1
"""Raise it with every change that alters a tile or a label: older sets are then made again."""

REQUIREMENT: Final = "deepforest==2.1.0"
WHEEL_NAME: Final = "deepforest-2.1.0-py3-none-any.whl"
WHEEL_SHA256: Final = "8c2798d8e9be7f0004b194fe207b76c1d9fff6e711b3db67b9508dcd5d00ae54"

TRAIN_PHOTO: Final = "2019_YELL_2_528000_4978000_image_crop2"
TEST_PHOTO: Final = "2019_YELL_2_541000_4977000_image_crop"
CROWNS: Final = {TRAIN_PHOTO: 574, TEST_PHOTO: 279}

TILE_WIDTH: Final = 320
TILE_HEIGHT: Final = 180
MIN_VISIBLE: Final = 0.4
VAL_STRIP: Final = 3 * TILE_HEIGHT  # pixels at the bottom of the training photograph

_DOWNLOAD_SECONDS: Final = 600

Boxes = NDArray[np.float64]


def tile_starts(length: int, tile: int, stride: int) -> list[int]:
    """Where tiles begin along one axis so that they cover ``length`` pixels, at least ``tile``.

    The first begins at 0 and the last ends at ``length``; between them they are spread evenly, at
    most ``stride`` pixels apart, 1 to ``tile``.
    """
    steps = -(-(length - tile) // stride)
    return [round(index * (length - tile) / steps) for index in range(steps + 1)] if steps else [0]


def crowns_in_tile(crowns: Boxes, x: int, y: int, *, min_visible: float = MIN_VISIBLE) -> Boxes:
    """Boxes of the crowns that a tile at (x, y) shows, clipped to it and in its own pixels.

    ``crowns`` are boxes ``(x1, y1, x2, y2)`` in pixels of the photograph, shape ``(n, 4)``; a share
    of ``min_visible``, above 0, of one must lie inside. The result has the shape ``(m, 4)``.
    """
    clipped = np.clip(crowns - np.array([x, y] * 2), 0, np.array([TILE_WIDTH, TILE_HEIGHT] * 2))
    kept: Boxes = clipped[_areas(clipped) >= min_visible * _areas(crowns)]
    return kept


def prepare_neontrees(root: Path) -> Path:
    """Make the tiles, or reuse them.

    The wheel is downloaded with pip (its own settings and ``PIP_*`` variables hold) and kept beside
    ``root``.

    Raises:
        DatasetError: The wheel cannot be downloaded or is not the expected one.
    """
    parameters = {
        "recipe_version": RECIPE_VERSION,
        "wheel_sha256": WHEEL_SHA256,
        "tile": [TILE_WIDTH, TILE_HEIGHT],
        "min_visible": MIN_VISIBLE,
    }
    return make_once(root, parameters, lambda folder: _write_tiles(folder, _wheel(root.parent)))


def _areas(boxes: Boxes) -> NDArray[np.float64]:
    areas: NDArray[np.float64] = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return areas


def _wheel(folder: Path) -> Path:
    """The checked wheel, downloaded unless ``folder`` has it."""
    wheel = folder / WHEEL_NAME
    if wheel.is_file() and sha256_of(wheel) == WHEEL_SHA256:
        return wheel
    with tempfile.TemporaryDirectory(prefix=".deepforest-", dir=folder) as work:
        _pip_download(Path(work))
        fresh = Path(work) / WHEEL_NAME
        if not fresh.is_file() or sha256_of(fresh) != WHEEL_SHA256:
            raise DatasetError(
                f"the downloaded wheel of {REQUIREMENT} is not the expected file",
                where="neontrees",
                fix=f"check the package index; its SHA-256 must be {WHEEL_SHA256}",
            )
        fresh.replace(wheel)
    return wheel


def _pip_download(folder: Path) -> None:
    stage(f"downloading {REQUIREMENT} (21 MB) with pip")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    # Only data is taken out of it: whether it could run on this Python does not matter.
    command += ["--ignore-requires-python", "--disable-pip-version-check", "--no-input"]
    command += ["--quiet", "--dest", str(folder), REQUIREMENT]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_DOWNLOAD_SECONDS, check=False
        )
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = "" if done.returncode == 0 else (errors or done.stderr.splitlines() or ["?"])[-1]
    except subprocess.TimeoutExpired:
        reason = f"no answer in {_DOWNLOAD_SECONDS} s"
    if reason:
        raise DatasetError(
            f"pip could not download {REQUIREMENT} ({reason.removeprefix('ERROR: ')})",
            where="neontrees",
            fix=f"check the network and pip's index, or put {WHEEL_NAME} beside the dataset's "
            "folder",
        )


def _write_tiles(root: Path, wheel: Path) -> None:
    train_photo, train_crowns = _read_photo(wheel, TRAIN_PHOTO)
    test_photo, test_crowns = _read_photo(wheel, TEST_PHOTO)
    border = train_photo.shape[0] - VAL_STRIP
    half, whole = (TILE_WIDTH // 2, TILE_HEIGHT // 2), (TILE_WIDTH, TILE_HEIGHT)
    _write_split(root, "train", train_photo[:border], train_crowns, half)
    below = train_crowns - np.array([0, border, 0, border])
    _write_split(root, "val", train_photo[border:], below, whole)
    _write_split(root, "test", test_photo, test_crowns, whole)
    write_data_yaml(root, ("train", "val", "test"), {0: "tree"})


def _read_photo(wheel: Path, name: str) -> tuple[NDArray[np.uint8], Boxes]:
    """A photograph of shape ``(height, width, 3)``, BGR, and its crowns, shape ``(n, 4)``."""
    with zipfile.ZipFile(wheel) as archive:
        encoded = np.frombuffer(archive.read(f"deepforest/data/{name}.png"), dtype=np.uint8)
        annotation = ElementTree.fromstring(archive.read(f"deepforest/data/{name}.xml"))
    photo = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    crowns = np.array(
        [
            [float(box.findtext(key, "nan")) for key in ("xmin", "ymin", "xmax", "ymax")]
            for box in annotation.iter("bndbox")
        ]
    )
    if photo is None or len(crowns) != CROWNS[name] or np.isnan(crowns).any():
        raise DatasetError(
            f"{name} has {len(crowns)} crowns instead of {CROWNS[name]}",
            where=wheel,
            fix="remove the file, it is then downloaded again",
        )
    return photo.astype(np.uint8, copy=False), crowns


def _write_split(
    root: Path, split: str, photo: NDArray[np.uint8], crowns: Boxes, stride: tuple[int, int]
) -> None:
    """Cut a photograph; ``stride`` is (x, y) in pixels, ``crowns`` are in its own pixels."""
    images, labels = root / "images" / split, root / "labels" / split
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    height, width = photo.shape[:2]
    for y in tile_starts(height, TILE_HEIGHT, stride[1]):
        for x in tile_starts(width, TILE_WIDTH, stride[0]):
            tile = np.ascontiguousarray(photo[y : y + TILE_HEIGHT, x : x + TILE_WIDTH])
            _, data = cv2.imencode(".png", tile)
            stem = f"{split}-y{y:04d}-x{x:04d}"
            (images / f"{stem}.png").write_bytes(data.tobytes())
            boxes = crowns_in_tile(crowns, x, y)
            lines = [label_line(0, tuple(box), TILE_WIDTH, TILE_HEIGHT) for box in boxes.tolist()]
            (labels / f"{stem}.txt").write_text("".join(lines), encoding="utf-8")
