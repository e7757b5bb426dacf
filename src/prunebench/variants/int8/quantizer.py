"""INT8 files by onnxruntime's quantization of an exported network.

Weights get 8 bits with one scale per output channel, activations 8 bits with one scale per tensor,
from the smallest to the largest value seen on real images. The file holds QuantizeLinear and
DequantizeLinear pairs (QDQ), which onnxruntime turns into integer kernels as it loads the file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from prunebench.common.errors import CheckpointError
from prunebench.common.files import write_atomically
from prunebench.common.records import Activations
from prunebench.measuring.onnx_graph import (
    GATHERING,
    OLDEST_OPSET,
    convolutions,
    decoding,
    gathering,
    is_quantized,
)
from prunebench.measuring.session import SessionSettings, open_session, session_options
from prunebench.steps.events import Emit, Progress
from prunebench.variants.int8.float_layers import FOLLOWING, kept_float, sources_of
from prunebench.variants.int8.float_weights import with_float_weights
from prunebench.variants.int8.silu import with_one_operator
from prunebench.variants.rewriting.apply import for_integers

if TYPE_CHECKING:
    from onnxruntime.quantization.calibrate import TensorsData

    from prunebench.measuring.inference import FloatArray

OPERATORS = sorted({"Conv", *FOLLOWING, *GATHERING})

COPYING = ("Concat", "MaxPool", "Reshape", "Resize", "Slice", "Split", "Transpose")
"""Operators whose results hold nothing but values of their inputs."""


class Quantizer:
    """Quantizes one float file, as often as asked, with this or that layer left in float.

    Args:
        path: A file as ``prunebench.variants.export`` writes it.
        imgsz: (height, width) its input must have, in pixels.
        activations: Unsigned or signed.
        folder: A folder of its own, for files in between and the quantized ones.
        narrow: Put layers of few input channels on integers too, see ``kept_float``.

    Attributes:
        layers: Names of the convolutions that can go on integers, in the graph's order.
        kept_float: Names of the others, each with its reason.

    Raises:
        CheckpointError: The file cannot be loaded, has another input, is quantized already, or
            is of an operator set too old.
    """

    def __init__(
        self,
        path: Path,
        imgsz: tuple[int, int],
        activations: Activations,
        session: SessionSettings,
        folder: Path,
        narrow: bool = False,
    ) -> None:
        import onnx
        from onnxruntime.quantization.shape_inference import quant_pre_process

        from prunebench.measuring.inference import OnnxNetwork

        self._head = OnnxNetwork(path, imgsz, session).head
        self._imgsz, self._folder = imgsz, folder
        self._activations, self._session = activations, session
        self.model = for_integers(onnx.load(path))
        if is_quantized(self.model):
            raise CheckpointError(
                "it is quantized already", where=path, fix="give the float file it was made from"
            )
        opset = next(item.version for item in self.model.opset_import if not item.domain)
        if opset < OLDEST_OPSET:
            raise CheckpointError(
                f"operator set {opset} has no scale per channel",
                where=path,
                fix=f"set export.opset to {OLDEST_OPSET} or more",
            )
        self.decoding = decoding(self.model)
        self.kept_float = kept_float(self.model, self.decoding, narrow)
        names = [node.name for node in convolutions(self.model)]
        self.layers = tuple(name for name in names if name not in self.kept_float)
        # A cut is where the scale of 8 bits ends: onnxruntime's tool takes the node away.
        self._in_float = self.decoding - gathering(self.model)
        self._sources = sources_of(self.model)
        self._ranges = folder / "ranges.json"
        self._float = folder / "float.onnx"
        whole = folder / "whole.onnx"
        onnx.save(self.model, whole)
        # Its optimisation is left to the session that loads the quantized file.
        quant_pre_process(whole, self._float, skip_optimization=True, skip_symbolic_shape=True)

    def calibrate(self, images: Sequence[Path], emit: Emit) -> None:
        """Find the range of every activation on images in the deployment's letterbox."""
        from onnxruntime.quantization.calibrate import MinMaxCalibrater, save_tensors_data

        from prunebench.measuring.inference import read_input

        augmented = self._folder / "augmented.onnx"
        calibrater = MinMaxCalibrater(self._float, OPERATORS, str(augmented))
        calibrater.augment_graph()
        # Its own session would take every core and could be told no better.
        calibrater.infer_session = open_session(str(augmented), session_options(self._session))
        feed = self.model.graph.input[0].name

        def letterboxed() -> Iterator[dict[str, FloatArray]]:
            for done, image in enumerate(images, start=1):
                yield {feed: read_input(image, self._imgsz, self._head)[0]}
                emit(Progress(done=done, total=len(images), unit="image"))

        inputs = letterboxed()
        # All that onnxruntime asks a CalibrationDataReader for.
        reader: Any = SimpleNamespace(get_next=lambda: next(inputs, None))
        calibrater.collect_data(reader)
        save_tensors_data(self._shared(calibrater.compute_data()), self._ranges)

    def write(self, name: str, left: Collection[str] = ()) -> Path:
        """Write ``name.onnx`` with every layer but ``left`` on integers; needs ``calibrate``.

        The same calibration and the same layers give the same bytes.
        """
        import onnx
        from onnxruntime import quantization as ort

        signed = self._activations == "s8"
        target = self._folder / f"{name}.onnx"
        ort.quantize_static(
            self._float,
            target,
            quant_format=ort.QuantFormat.QDQ,
            op_types_to_quantize=OPERATORS,
            per_channel=True,
            activation_type=ort.QuantType.QInt8 if signed else ort.QuantType.QUInt8,
            weight_type=ort.QuantType.QInt8,
            nodes_to_quantize=self._on_integers(left),
            calibrate_method=ort.CalibrationMethod.MinMax,
            calibration_cache_path=self._ranges,
        )
        written = with_one_operator(with_float_weights(onnx.load(target)))
        del written.metadata_props[:]
        written.metadata_props.extend(self.model.metadata_props)
        write_atomically(target, written.SerializeToString(deterministic=True))
        return target

    def _shared(self, ranges: TensorsData) -> TensorsData:
        """The ranges, with one for all tensors that are joined: joining them is then copying."""
        from onnxruntime.quantization.calibrate import TensorData, TensorsData

        groups = {name: {name} for name in ranges}
        for node in self.model.graph.node:
            if node.op_type in COPYING and node.name not in self._in_float:
                known = (groups[n] for n in (*node.input, *node.output) if n in groups)
                joined = set[str]().union(*known)
                groups |= dict.fromkeys(joined, joined)
        shared = {}
        for name, group in groups.items():
            lowest, highest = zip(*(ranges[one].range_value for one in group), strict=True)
            shared[name] = TensorData(lowest=min(lowest), highest=max(highest))
        return TensorsData(ranges.calibration_method, shared)

    def _on_integers(self, left: Collection[str]) -> list[str]:
        """The layers, and what follows only layers that are on integers."""
        wanted = set(self.layers) - set(left)
        return [
            name
            for name, sources in self._sources.items()
            if name not in self._in_float and sources <= wanted
        ]
