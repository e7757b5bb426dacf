"""Image files as everything here reads them, which is as Ultralytics' training does.

From memory, because OpenCV makes a grey rest of a JPEG file that was cut off and nothing of a
turned TIFF file, unless it has the bytes; upright, as EXIF says.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from prunebench.common.errors import DatasetError

LEAST_SIDE: Final = 10  # pixels: Ultralytics leaves smaller images out of a training


def usable_image(path: Path) -> NDArray[np.uint8]:
    """An image upright, (height, width, 3) BGR; DatasetError where it cannot be read."""
    try:
        image = _decoded(path.read_bytes(), path.name)
    except OSError as error:
        raise DatasetError(
            f"the image cannot be read ({error.strerror})", where=path, fix="restore it"
        ) from error
    if image is None:
        raise DatasetError("the image cannot be read", where=path, fix="replace or remove it")
    return image


def flaw_of(content: bytes, name: str) -> str | None:
    """Why the content of an image file cannot be used, ``None`` where it can.

    It is decoded to an eighth of its size: of a JPEG that reads all there is, in less time.
    """
    image = _decoded(content, name, cv2.IMREAD_REDUCED_COLOR_8)
    if image is not None and min(image.shape[:2]) <= LEAST_SIDE // 8 + 1:
        image = _decoded(content, name)
        if image is not None and min(image.shape[:2]) < LEAST_SIDE:
            height, width = image.shape[:2]
            return f"has {width} x {height} pixels, fewer than {LEAST_SIDE} a side"
    return "cannot be decoded" if image is None else None


@contextlib.contextmanager
def decoding_quietly() -> Iterator[None]:
    """Keep OpenCV from writing to the terminal about each file it cannot decode."""
    before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(before)


def _decoded(content: bytes, name: str, flags: int = cv2.IMREAD_COLOR) -> NDArray[np.uint8] | None:
    if not content:
        return None
    if name.lower().endswith(".avif"):
        return _by_pillow(content)  # OpenCV leaves AVIF images as they lie
    try:
        return cast(NDArray[np.uint8] | None, cv2.imdecode(np.frombuffer(content, np.uint8), flags))
    except cv2.error:
        return None


def _by_pillow(content: bytes) -> NDArray[np.uint8] | None:
    import io

    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(content)) as image:
            upright: Any = ImageOps.exif_transpose(image)
            return np.ascontiguousarray(np.asarray(upright.convert("RGB"))[..., ::-1])
    except Exception:  # Pillow raises many kinds for damaged files
        return None
