"""A network in OpenVINO, which reads ONNX files itself: integers of a QDQ file stay integers."""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

# Its import would report itself to its makers from a process beside the one that is timed.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
import openvino  # noqa: E402

if TYPE_CHECKING:
    from prunebench.measuring.runtimes.loaded import FloatArray

XML, BIN = "model.xml", "model.bin"
"""OpenVINO's own format, of two files; one that is to be one file archives them."""

PRECISIONS = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}
IN_FORCE = (
    *("INFERENCE_NUM_THREADS", "NUM_STREAMS", "PERFORMANCE_HINT", "EXECUTION_MODE_HINT"),
    *("ENABLE_CPU_PINNING", "SCHEDULING_CORE_TYPE", "CPU_DENORMALS_OPTIMIZATION"),
)


def open_in_openvino(path: str, threads: int, precision: str | None) -> InOpenVino:
    """Load an ONNX file, or an archive of OpenVINO's own; its error where it cannot."""
    settings: dict[str, Any] = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        # As onnxruntime's threads: the host's scheduler says where.
        "ENABLE_CPU_PINNING": False,
    }
    if precision is not None:
        settings["INFERENCE_PRECISION_HINT"] = precision
    core = openvino.Core()
    with open(path, "rb") as stream:  # noqa: PTH123
        content = stream.read()
    weights = b""
    # By its content: a kit's files have no suffix that says what they are.
    if content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            content, weights = archive.read(XML), archive.read(BIN)
    return InOpenVino(core.compile_model(core.read_model(content, weights), "CPU", settings))


class InOpenVino:
    """``Loaded`` of what OpenVINO has compiled."""

    metadata: Mapping[str, str] = {}

    def __init__(self, compiled: openvino.CompiledModel) -> None:
        self._network = compiled
        self._request = self._network.create_infer_request()
        self._outputs = range(len(self._network.outputs))
        self.shape: tuple[int, ...] | None = tuple(self._network.input(0).shape)

    def __call__(self, image: FloatArray) -> list[FloatArray]:
        """Outputs for one image, copied: the next inference writes where these were."""
        self._request.infer([image], share_inputs=True)
        return [np.array(self._request.get_output_tensor(n).data) for n in self._outputs]

    def describe(self) -> dict[str, str]:
        """The properties of the compiled network."""
        read = self._network.get_property
        kind = read("INFERENCE_PRECISION_HINT").get_type_name()
        return {
            "runtime": "openvino",
            "openvino": openvino.__version__,
            "precision": PRECISIONS.get(kind, kind),
            "threads": str(read("INFERENCE_NUM_THREADS")),
            **{name: str(read(name)) for name in IN_FORCE},
        }
