"""INT8 files: which nodes of an exported network go on integers, and onnxruntime's quantization.

Weights get 8 bits with one scale per output channel, activations 8 bits with one scale per tensor,
from the smallest to the largest value seen on real images. The file holds QuantizeLinear and
DequantizeLinear pairs (QDQ), which onnxruntime turns into integer kernels as it loads the file.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from prunebench.common.errors import CheckpointError
from prunebench.common.files import write_atomically
from prunebench.measuring.onnx_graph import (
    OLDEST_OPSET,
    convolutions,
    decoding,
    is_conv,
    is_quantized,
    is_silu,
    makers_of,
)
from prunebench.measuring.session import SessionSettings, open_session, session_options
from prunebench.steps.events import Emit, Progress

if TYPE_CHECKING:
    import onnx

    from prunebench.measuring.inference import FloatArray

Activations = Literal["u8", "s8"]


FOLLOWING = ("Add", "Concat", "MaxPool", "Resize", "Split")
"""Operators quantized beside convolutions: in float they would cost a conversion on every side."""


DOT_PRODUCT = 4
"""Pairs of 8-bit integers one instruction multiplies and adds up, of x86's VNNI and ARM's alike."""


class Quantizer:
    """Quantizes one float file, as often as asked, with this or that layer left in float.

    Args:
        path: A file as ``prunebench.variants.export`` writes it.
        imgsz: (height, width) its input must have, in pixels.
        activations: Unsigned or signed.
        session: The session options it is calibrated with.
        folder: A folder of its own, for files in between and the quantized ones.

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
    ) -> None:
        import onnx
        from onnxruntime.quantization.shape_inference import quant_pre_process

        from prunebench.measuring.inference import OnnxNetwork

        OnnxNetwork(path, imgsz, session)
        self._imgsz, self._folder = imgsz, folder
        self._activations, self._session = activations, session
        self.model = onnx.load(path)
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
        weights = {tensor.name: tensor.dims for tensor in self.model.graph.initializer}
        reasons = {
            node.name: self._why_float(node, weights[node.input[1]])
            for node in convolutions(self.model)
        }
        self.layers = tuple(name for name, reason in reasons.items() if reason is None)
        self.kept_float = {name: reason for name, reason in reasons.items() if reason is not None}
        self._sources = _sources(self.model)
        self._ranges = folder / "ranges.json"
        self._float = folder / "float.onnx"
        # Its optimisation is left to the session that loads the quantized file.
        quant_pre_process(path, self._float, skip_optimization=True, skip_symbolic_shape=True)

    def _why_float(self, node: onnx.NodeProto, weight: Sequence[int]) -> str | None:
        if node.name in self.decoding:
            return "decodes the boxes"
        if node.op_type != "Conv":
            return f"onnxruntime has no integer kernel of {node.op_type}"
        groups = next((item.i for item in node.attribute if item.name == "group"), 1)
        if groups == 1 and weight[1] < DOT_PRODUCT:
            # With AVX-512 VNNI, yolov8n's first layer at 192x320 takes 1.2 ms so, and 0.4 in float.
            return f"its {weight[1]} input channels do not fill an integer dot product"
        return None

    def calibrate(self, images: Sequence[Path], emit: Emit) -> None:
        """Find the range of every activation on images in the deployment's letterbox.

        Raises:
            DatasetError: An image cannot be read.
        """
        from onnxruntime.quantization.calibrate import MinMaxCalibrater, save_tensors_data

        augmented = self._folder / "augmented.onnx"
        calibrater = MinMaxCalibrater(self._float, self._operators(), str(augmented))
        calibrater.augment_graph()
        # Its own session would take every core and could be told no better.
        calibrater.infer_session = open_session(str(augmented), session_options(self._session))
        feed = self.model.graph.input[0].name
        calibrater.collect_data(_Reader(feed, images, self._imgsz, emit))
        save_tensors_data(calibrater.compute_data(), self._ranges)

    def write(self, name: str, left: Collection[str] = ()) -> Path:
        """Write a file in which every layer but ``left`` is on integers; needs ``calibrate``.

        The same calibration and the same layers give the same bytes.

        Args:
            name: Of the file, without suffix.
            left: Names of the layers left in float.
        """
        import onnx
        from onnxruntime.quantization import (
            CalibrationMethod,
            QuantFormat,
            QuantType,
            quantize_static,
        )

        signed = self._activations == "s8"
        target = self._folder / f"{name}.onnx"
        quantize_static(
            self._float,
            target,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=self._operators(),
            per_channel=True,
            activation_type=QuantType.QInt8 if signed else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=self._on_integers(left),
            calibrate_method=CalibrationMethod.MinMax,
            calibration_cache_path=self._ranges,
        )
        written = onnx.load(target)
        del written.metadata_props[:]
        written.metadata_props.extend(self.model.metadata_props)
        write_atomically(target, written.SerializeToString(deterministic=True))
        return target

    def _operators(self) -> list[str]:
        return ["Conv", "Sigmoid", "Mul", *FOLLOWING]

    def _on_integers(self, left: Collection[str]) -> list[str]:
        """The layers, their SiLU, and what follows only layers that are on integers."""
        wanted = set(self.layers) - set(left)
        return [
            name
            for name, sources in self._sources.items()
            if name not in self.decoding and sources <= wanted
        ]


class _Reader:
    """Gives onnxruntime's calibration one letterboxed image after the other."""

    def __init__(
        self, feed: str, images: Sequence[Path], imgsz: tuple[int, int], emit: Emit
    ) -> None:
        self._feed, self._images, self._imgsz, self._emit = feed, images, imgsz, emit
        self._done = 0

    def get_next(self) -> dict[str, FloatArray] | None:
        """The next image as the network's input, ``None`` after the last."""
        from prunebench.measuring.inference import read_letterboxed

        total = len(self._images)
        if self._done:
            event = Progress(done=self._done, total=total, unit="image")
            self._emit(event)
        if self._done == total:
            return None
        tensor, _, _ = read_letterboxed(self._images[self._done], self._imgsz)
        self._done += 1
        return {self._feed: tensor}


def _sources(model: onnx.ModelProto) -> dict[str, frozenset[str]]:
    """Nodes that can be quantized, each with the convolutions its values come from directly.

    A convolution comes from itself. Of sigmoids and products only those of a SiLU are meant: an
    attention's scale stays with its float products.
    """
    makers = makers_of(model)
    behind: dict[str, frozenset[str]] = {}
    found: dict[str, frozenset[str]] = {}
    for node in model.graph.node:
        given = [behind.get(name, frozenset()) for name in node.input]
        sources = frozenset((node.name,)) if is_conv(node) else frozenset().union(*given)
        behind.update(dict.fromkeys(node.output, sources))
        if node.op_type in ("Conv", *FOLLOWING) or is_silu(node, makers):
            found[node.name] = sources
    return found
