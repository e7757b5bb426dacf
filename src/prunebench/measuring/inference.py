"""Run an exported file on real images, in a child process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from prunebench.common.errors import CheckpointError
from prunebench.data.images import usable_image
from prunebench.measuring.heads import head_of
from prunebench.measuring.runtimes.opening import opener
from prunebench.measuring.session import Options, SessionSettings, threads_here

if TYPE_CHECKING:
    from prunebench.common.records import Runtime
    from prunebench.measuring.heads.detect import Detect

FloatArray = NDArray[np.float32]


class OnnxNetwork:
    """An ONNX file with one image input, (height, width) in pixels; else a CheckpointError.

    ``head`` says what its outputs mean; ``over`` are options in place of the settings'. With a
    ``runtime`` it is a file of that one, and run there.
    """

    def __init__(
        self,
        path: Path,
        imgsz: tuple[int, int],
        session: SessionSettings,
        sigmas: tuple[float, ...] = (),
        over: Options | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        load = opener(None if runtime is None else runtime.name)
        try:
            self._network = load(str(path), threads_here(), session, over)
        except Exception as error:  # the runtimes have no public base class for their errors
            what = f"{'onnxruntime' if runtime is None else runtime.name} cannot load the file"
            raise CheckpointError(what, where=path) from error
        self.describe, shape = self._network.describe, self._network.shape
        self.metadata = self._network.metadata if runtime is None else runtime.head
        try:
            self.head = head_of(self.metadata, sigmas)
        except ValueError as error:
            raise CheckpointError(str(error), where=path, fix="export it again") from error
        if shape is not None and shape != (1, 3, *imgsz):
            raise CheckpointError(
                f"its input is {[*shape]}, not [1, 3, {imgsz[0]}, {imgsz[1]}]", where=path
            )

    def __call__(self, tensor: FloatArray) -> Sequence[FloatArray]:
        """Outputs for one image, (1, 3, height, width) RGB in 0..1."""
        return self._network(tensor)


def read_input(
    path: Path, imgsz: tuple[int, int], head: Detect
) -> tuple[FloatArray, NDArray[np.float64], NDArray[np.float64]]:
    """Read an image into a head's letterbox, ``imgsz`` (height, width) in pixels.

    Returns the network input, (1, 3, height, width) RGB in 0..1; and factor and offset, (4,) each,
    that take boxes relative to the image (centre x, centre y, width, height in 0..1) to letterbox
    pixels. DatasetError where the image cannot be read.
    """
    tensor, scale, (left, top) = head.framed(image := usable_image(path), imgsz)
    height, width = image.shape[:2]
    factor = np.tile(np.array([width, height], dtype=np.float64) * scale, 2)
    return tensor, factor, np.array([left, top, 0, 0], dtype=np.float64)
