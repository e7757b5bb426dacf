"""The one interface of every runtime: load a file, run it, describe how it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from prunebench.measuring.session import Options, SessionSettings

FloatArray = NDArray[np.float32]


class Loaded(Protocol):
    """A network in memory."""

    shape: tuple[int, ...] | None
    """Of its one input; ``None`` where the file does not say."""

    metadata: Mapping[str, str]
    """What Ultralytics wrote into an ONNX file; empty in another runtime than onnxruntime."""

    def __call__(self, image: FloatArray) -> list[FloatArray]:
        """Its outputs for one image, in the order of the ONNX file's."""

    def describe(self) -> dict[str, str]:
        """What it runs with, by the runtime's own word.

        A runtime other than onnxruntime says ``runtime``, ``precision`` and ``threads`` among it.
        """


Open = Callable[[str, int, "SessionSettings", "Options | None"], Loaded]
"""Loads a file for so many threads; settings, and options over them, are onnxruntime's alone."""
