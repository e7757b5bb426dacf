"""Datasets as people really bring them, a few tiny images each, and what a folder holds."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

NAMES = {0: "green", 1: "blue"}
TURNED = 6  # EXIF's orientation of an image that lies on its side
BOX = "0 0.5 0.5 0.2 0.2\n"


def make_images(root: Path, *, turned: bool = False, suffix: str = "png", **keys: object) -> Path:
    """Write three images of 96x36 pixels per split, one box each, and return the data YAML.

    ``turned`` stores them as a phone held upright does; ``keys`` go into the YAML, ``None`` leaves
    one out.
    """
    rng = np.random.default_rng(7)
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for index in range(3):
            pixels = rng.integers(0, 255, (36, 96, 3), dtype=np.uint8)
            exif = Image.Exif()
            if turned:
                exif[274] = TURNED
            Image.fromarray(pixels).save(
                root / "images" / split / f"{index}.{suffix}", exif=exif.tobytes()
            )
            (root / "labels" / split / f"{index}.txt").write_text(BOX)
    values = {"train": "images/train", "val": "images/val", "names": NAMES} | keys
    path = root / "data.yaml"
    path.write_text(yaml.safe_dump({key: values[key] for key in values if values[key] is not None}))
    return path


def append(file: Path, content: bytes) -> None:
    """Write bytes behind a file's end."""
    with file.open("ab") as stream:
        stream.write(content)


def cut(file: Path, size: int) -> None:
    """Keep the first ``size`` bytes of a file."""
    file.write_bytes(file.read_bytes()[:size])


def state_of(folder: Path) -> dict[str, tuple[int, str]]:
    """Time in nanoseconds and digest of the content of everything in and below a folder."""
    return {
        str(path): (
            path.lstat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in (folder, *folder.rglob("*"))
    }
