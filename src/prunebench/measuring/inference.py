"""Run an exported file on real images, in a child process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from prunebench.common.errors import CheckpointError
from prunebench.data.images import usable_image
from prunebench.measuring.heads import head_of
from prunebench.measuring.postprocess import letterbox
from prunebench.measuring.session import Options, SessionSettings, open_session, session_options

FloatArray = NDArray[np.float32]


class OnnxNetwork:
    """An ONNX file with one image input, (height, width) in pixels; else a CheckpointError.

    ``head`` says what its outputs mean; ``over`` are options in place of the settings'.
    """

    def __init__(
        self,
        path: Path,
        imgsz: tuple[int, int],
        session: SessionSettings,
        sigmas: tuple[float, ...] = (),
        over: Options | None = None,
    ) -> None:
        try:
            self._session = open_session(str(path), session_options(session, over=over))
        except Exception as error:  # onnxruntime has no public base class for its errors
            raise CheckpointError("onnxruntime cannot load the file", where=path) from error
        self.head = head_of(self._session.get_modelmeta().custom_metadata_map, sigmas)
        inputs = self._session.get_inputs()
        self._input = inputs[0].name
        if len(inputs) != 1 or inputs[0].shape != [1, 3, *imgsz]:
            shapes = ", ".join(str(item.shape) for item in inputs)
            raise CheckpointError(
                f"its input is {shapes}, not [1, 3, {imgsz[0]}, {imgsz[1]}]", where=path
            )

    def __call__(self, tensor: FloatArray) -> Sequence[FloatArray]:
        """Outputs for one image, (1, 3, height, width) RGB in 0..1."""
        return cast(Sequence[FloatArray], self._session.run(None, {self._input: tensor}))


def read_letterboxed(
    path: Path, imgsz: tuple[int, int]
) -> tuple[FloatArray, NDArray[np.float64], NDArray[np.float64]]:
    """Read an image into the letterbox, ``imgsz`` (height, width) in pixels.

    Returns the network input, (1, 3, height, width) RGB in 0..1; and factor and offset, (4,) each,
    that take boxes relative to the image (centre x, centre y, width, height in 0..1) to letterbox
    pixels. DatasetError where the image cannot be read.
    """
    tensor, scale, (left, top) = letterbox(image := usable_image(path), imgsz)
    height, width = image.shape[:2]
    factor = np.array([width, height, width, height], dtype=np.float64) * scale
    return tensor, factor, np.array([left, top, 0, 0], dtype=np.float64)
