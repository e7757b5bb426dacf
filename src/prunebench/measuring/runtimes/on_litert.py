"""A network in LiteRT, whose kernels on a CPU are XNNPACK's."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING

from ai_edge_litert.interpreter import Interpreter

if TYPE_CHECKING:
    from prunebench.measuring.runtimes.loaded import FloatArray


class InLiteRt:
    """``Loaded`` by LiteRT, in float32; its error where it cannot load the file."""

    metadata: Mapping[str, str] = {}

    def __init__(self, path: str, threads: int) -> None:
        self._network = Interpreter(model_path=path, num_threads=threads)
        self._network.allocate_tensors()
        self._threads = threads
        (feed,) = self._network.get_input_details()
        self.shape: tuple[int, ...] | None = tuple(map(int, feed["shape"]))
        self._input = feed["index"]
        self._outputs = [one["index"] for one in self._network.get_output_details()]

    def __call__(self, image: FloatArray) -> list[FloatArray]:
        """Outputs for one image, copied: the next inference writes where these were."""
        self._network.set_tensor(self._input, image)
        self._network.invoke()
        return [self._network.get_tensor(index) for index in self._outputs]

    def describe(self) -> dict[str, str]:
        """The threads asked for, and what computes; a file in float32 is computed in it."""
        return {
            "runtime": "litert",
            "litert": version("ai-edge-litert"),
            "precision": "float32",
            "threads": str(self._threads),
        }
