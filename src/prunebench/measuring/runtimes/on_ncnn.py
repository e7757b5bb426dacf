"""A network in ncnn: an archive of the two files that pnnx makes of an ONNX file."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING

import ncnn
import numpy as np

if TYPE_CHECKING:
    from prunebench.measuring.runtimes.loaded import FloatArray

PARAM, BIN = "model.ncnn.param", "model.ncnn.bin"
HALF = (
    *("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic"),
    *("use_bf16_packed", "use_bf16_storage"),
)
"""Options that let ncnn compute in 16 bits, some of them on by default on ARM."""


class InNcnn:
    """``Loaded`` by ncnn, in float32; RuntimeError where it cannot load the file."""

    shape: tuple[int, ...] | None = None

    metadata: Mapping[str, str] = {}

    def __init__(self, path: str, threads: int) -> None:
        self._network = ncnn.Net()
        options = self._network.opt
        options.num_threads = threads
        options.use_vulkan_compute = False
        for name in HALF:
            setattr(options, name, False)
        with zipfile.ZipFile(path) as archive:
            param, self._weights = archive.read(PARAM).decode(), archive.read(BIN)
        if self._network.load_param_mem(param) != 0:
            raise RuntimeError("ncnn cannot read the network")
        # It reads weights from this memory for as long as the network lives.
        self._network.load_model_mem(self._weights)
        self._input = self._network.input_names()[0]
        self._outputs = sorted(self._network.output_names())

    def __call__(self, image: FloatArray) -> list[FloatArray]:
        """Outputs for one image; ncnn's own have no axis for the batch."""
        extractor = self._network.create_extractor()
        extractor.input(self._input, ncnn.Mat(image[0]))
        return [np.array(extractor.extract(name)[1])[None] for name in self._outputs]

    def describe(self) -> dict[str, str]:
        """The options in force."""
        options = self._network.opt
        return {
            "runtime": "ncnn",
            "ncnn": ncnn.__version__,
            "precision": "float32",
            "threads": str(options.num_threads),
            **{name: str(getattr(options, name)) for name in HALF},
            "openmp_blocktime": str(options.openmp_blocktime),
        }
