"""INT8 files: which nodes of an exported network go on integers, and onnxruntime's quantization.

Weights get 8 bits with one scale per output channel, activations 8 bits with one scale per tensor,
from the smallest to the largest value seen on real images. The file holds QuantizeLinear and
DequantizeLinear pairs (QDQ), which onnxruntime turns into integer kernels as it loads the file.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from prunebench.child import Emit
from prunebench.errors import CheckpointError
from prunebench.files import write_atomically

if TYPE_CHECKING:
    import onnx

    from prunebench.inference import FloatArray

Activations = Literal["u8", "s8"]

OLDEST_OPSET = 13
"""The first in which QuantizeLinear has an axis, which one scale per channel needs."""

FOLLOWING = ("Add", "Concat", "MaxPool", "Resize", "Split")
"""Operators quantized beside convolutions: in float they would cost a conversion on every side."""

DEQUANTIZED = "_DequantizeLinear_Output"
"""What onnxruntime appends to the name of a tensor it made of integers."""

DOT_PRODUCT = 4
"""Pairs of 8-bit integers one instruction multiplies and adds up, of x86's VNNI and ARM's alike."""

DFL = ".dfl."
"""In the name of the weight that turns the distribution of a box's edge into its place."""


def module_of(weight: str) -> str:
    """Module a convolution's weight belongs to, by the weight's name in a float or INT8 file."""
    return weight.removesuffix(DEQUANTIZED).removesuffix(".weight")


def is_quantized(model: onnx.ModelProto) -> bool:
    """Whether a node of the file computes with integers in place of floats."""
    marks = ("QuantizeLinear", "DequantizeLinear", "QLinear", "Integer")
    return any(mark in node.op_type for node in model.graph.node for mark in marks)


def convolutions(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Every convolution of a file, transposed ones too, in the graph's order."""
    return [node for node in model.graph.node if _is_conv(node)]


def integer_convolutions(model: onnx.ModelProto) -> frozenset[str]:
    """Names of the convolutions whose image, weight and result are 8-bit integers."""
    nodes = model.graph.node
    made = {
        output for node in nodes if node.op_type == "DequantizeLinear" for output in node.output
    }
    taken = {node.input[0] for node in nodes if node.op_type == "QuantizeLinear"}
    return frozenset(
        node.name
        for node in convolutions(model)
        if made.issuperset(node.input[:2]) and node.output[0] in taken
    )


def decoding(model: onnx.ModelProto) -> frozenset[str]:
    """Names of the nodes behind the last trained convolution of every branch.

    They turn its results into boxes in pixels beside scores of 0..1: on one scale of 8 bits every
    score would be the same.
    """
    makers = _makers(model)
    found: set[str] = set()
    waiting = [output.name for output in model.graph.output]
    while waiting:
        node = makers.get(waiting.pop())
        if node is None or node.name in found or (_is_conv(node) and DFL not in node.input[1]):
            continue
        found.add(node.name)
        waiting.extend(node.input)
    return frozenset(found)


class Quantizer:
    """Quantizes one float file, as often as asked, with this or that layer left in float.

    Args:
        path: A file as ``prunebench.export`` writes it.
        imgsz: (height, width) its input must have, in pixels.
        activations: Unsigned or signed.
        folder: A folder of its own, for files in between and the quantized ones.

    Attributes:
        layers: Names of the convolutions that can go on integers, in the graph's order.
        kept_float: Names of the others, each with its reason.

    Raises:
        CheckpointError: The file cannot be loaded, has another input, is quantized already, or
            is of an operator set too old.
    """

    def __init__(
        self, path: Path, imgsz: tuple[int, int], activations: Activations, folder: Path
    ) -> None:
        import onnx
        from onnxruntime.quantization.shape_inference import quant_pre_process

        from prunebench.inference import OnnxNetwork

        OnnxNetwork(path, imgsz)
        self._imgsz, self._folder = imgsz, folder
        self._activations = activations
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
        import onnxruntime as ort
        from onnxruntime.quantization.calibrate import MinMaxCalibrater, save_tensors_data

        augmented = self._folder / "augmented.onnx"
        calibrater = MinMaxCalibrater(self._float, self._operators(), str(augmented))
        calibrater.augment_graph()
        # Its own session would take every core and could be told no better.
        options = ort.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("PRUNEBENCH_CHILD_THREADS", "1"))
        calibrater.infer_session = ort.InferenceSession(
            str(augmented), options, providers=["CPUExecutionProvider"]
        )
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
        from prunebench.inference import read_letterboxed

        total = len(self._images)
        if self._done:
            event = {"kind": "progress", "done": self._done, "total": total, "unit": "image"}
            self._emit(event)
        if self._done == total:
            return None
        tensor, _, _ = read_letterboxed(self._images[self._done], self._imgsz)
        self._done += 1
        return {self._feed: tensor}


def _makers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    return {output: node for node in model.graph.node for output in node.output}


def _is_conv(node: onnx.NodeProto) -> bool:
    return node.op_type in ("Conv", "ConvTranspose")


def _sources(model: onnx.ModelProto) -> dict[str, frozenset[str]]:
    """Nodes that can be quantized, each with the convolutions its values come from directly.

    A convolution comes from itself. Of sigmoids and products only those of a SiLU are meant: an
    attention's scale stays with its float products.
    """
    makers = _makers(model)
    behind: dict[str, frozenset[str]] = {}
    found: dict[str, frozenset[str]] = {}
    for node in model.graph.node:
        given = [behind.get(name, frozenset()) for name in node.input]
        sources = frozenset((node.name,)) if _is_conv(node) else frozenset().union(*given)
        behind.update(dict.fromkeys(node.output, sources))
        if node.op_type in ("Conv", *FOLLOWING) or _is_silu(node, makers):
            found[node.name] = sources
    return found


def _is_silu(node: onnx.NodeProto, makers: dict[str, onnx.NodeProto]) -> bool:
    """Whether a node is one of the two of ``x * sigmoid(x)`` behind a convolution."""
    given: list[Any] = [makers.get(name) for name in node.input]
    if not all(given):
        return False
    if node.op_type == "Sigmoid":
        return _is_conv(given[0])
    return (
        node.op_type == "Mul"
        and {maker.op_type for maker in given} == {"Conv", "Sigmoid"}
        and any(maker.op_type == "Sigmoid" and maker.input[0] in node.input for maker in given)
    )
