"""Decode a kit's frames, in a process of its own: OpenCV would stay in its agent's memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np


def main(argv: Sequence[str]) -> None:
    """Entry point: ``FOLDER IMAGE...``; writes ``frame-0.npy`` and so on, (H, W, 3) BGR uint8."""
    for index, path in enumerate(argv[1:]):
        image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None, f"{path} is no image"  # noqa: S101
        np.save(Path(argv[0]) / f"frame-{index}.npy", image)
