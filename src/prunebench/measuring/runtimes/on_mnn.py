"""A network in MNN, as its converter makes it of an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import MNN
import numpy as np
from MNN import expr, nn

if TYPE_CHECKING:
    from prunebench.measuring.runtimes.loaded import FloatArray


class InMnn:
    """``Loaded`` by MNN, in float32; its error where it cannot load the file."""

    metadata: Mapping[str, str] = {}

    def __init__(self, path: str, threads: int) -> None:
        self._settings: dict[str, Any] = {"backend": 0, "numThread": threads, "precision": "high"}
        manager = nn.create_runtime_manager((self._settings,))
        # It reads a file without names as one that takes and gives all there is.
        self._network = nn.load_module_from_file(path, [], [], runtime_manager=manager)
        feed = self._network.get_info()["inputs"][0]
        self.shape: tuple[int, ...] | None = tuple(feed.shape)
        self._image = expr.placeholder(list(feed.shape), expr.NCHW, expr.float)

    def __call__(self, image: FloatArray) -> list[FloatArray]:
        """Outputs for one image, in the layout of the ONNX file's."""
        self._image.write(image)
        found = self._network.forward([self._image])
        return [np.array(expr.convert(one, expr.NCHW).read()) for one in found]

    def describe(self) -> dict[str, str]:
        """The settings asked for; MNN does not say which are in force."""
        asked = {f"asked_{name}": str(value) for name, value in self._settings.items()}
        threads = str(self._settings["numThread"])
        known = {"mnn": MNN.version(), "precision": "float32", "threads": threads}
        return {"runtime": "mnn", **known, **asked}
