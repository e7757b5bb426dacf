"""Step ``quantize``: an INT8 sibling of an exported file that loses no more mAP50 than allowed."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from prunebench.common.errors import CheckpointError, DatasetError
from prunebench.common.files import write_atomically
from prunebench.common.records import Activations, FileRef, Quantization, Record
from prunebench.measuring.onnx_graph import convolutions, integer_convolutions
from prunebench.measuring.session import SessionSettings
from prunebench.steps.events import Emit, Progress, Stage
from prunebench.variants.export import ONNX_FILE
from prunebench.variants.int8.float_layers import leave_worst, prediction_error
from prunebench.variants.int8.quantizer import Quantizer
from prunebench.variants.provenance import INT8_KEY

if TYPE_CHECKING:
    import onnx

PROBED = 16  # calibration images on which the error of each layer alone is judged


class Request(Record):
    """Input of the step; files are absolute paths.

    Attributes:
        onnx: The exported float file: batch 1, static, raw head output.
        calibration: Training images that the ranges come from.
        images: Labelled images that the loss of accuracy is judged on.
        imgsz: (height, width) of the letterbox in pixels.
        confidence: Scores at or below are dropped.
        iou: IoU above which NMS drops a box.
        max_det: Most detections per image.
        max_map50_loss: mAP50 the file may lose against the float file; 0.01 is a point.
        sigmas: The spreads of keypoints that the dataset gives.
        activations: Unsigned or signed, as the kernels of the CPU like them.
        narrow: Layers of few input channels go on integers too, see ``kept_float``.
    """

    onnx: str
    calibration: tuple[str, ...]
    images: tuple[str, ...]
    names: dict[int, str]
    imgsz: tuple[int, int]
    confidence: float
    iou: float
    max_det: int
    max_map50_loss: float
    session: SessionSettings
    sigmas: tuple[float, ...] = ()
    activations: Activations = "u8"
    narrow: bool = False


class Quantized(Quantization):
    """An INT8 file (``onnx``) and its making, which its metadata has beside the float file's."""

    onnx: FileRef


def run(request: Request, workdir: Path, emit: Emit) -> Quantized:
    """Quantize an exported file."""
    import onnx

    path = Path(request.onnx)
    if not request.calibration:
        raise DatasetError(
            "there is no image to calibrate on", where=path, fix="give it training images"
        )
    with tempfile.TemporaryDirectory(dir=workdir, prefix=".quantize.") as folder:
        quantizer = Quantizer(
            path,
            request.imgsz,
            request.activations,
            request.session,
            Path(folder),
            request.narrow,
        )
        _check_output(quantizer.model, request)
        emit(Stage(what=f"evaluating in float on {len(request.images)} images"))
        map50_float = _map50(path, request, emit)
        emit(Stage(what=f"calibrating on {len(request.calibration)} images"))
        quantizer.calibrate([Path(image) for image in request.calibration], emit)
        trial, reasons = leave_worst(
            quantizer.layers,
            quantizer.write,
            lambda file: _map50(file, request, emit),
            lambda: _errors_alone(quantizer, request, emit),
            map50_float,
            request.max_map50_loss,
            emit,
        )
        target = workdir / ONNX_FILE
        trial.path.replace(target)
    reasons |= quantizer.kept_float
    written = onnx.load(target)
    integers = integer_convolutions(written)
    left = [node for node in convolutions(written) if node.name not in integers]
    made = Quantization(
        layers=len(integers) + len(left),
        quantized=len(integers),
        left_float={
            node.name: reasons.get(node.name, "onnxruntime left it in float") for node in left
        },
        map50_float=map50_float,
        map50=trial.map50,
        activations=request.activations,
        calibration_images=len(request.calibration),
    )
    written.metadata_props.add(key=INT8_KEY, value=made.model_dump_json())
    write_atomically(target, written.SerializeToString(deterministic=True))
    return Quantized(onnx=FileRef.of(target, workdir), **made.model_dump())


def _errors_alone(quantizer: Quantizer, request: Request, emit: Emit) -> dict[str, float]:
    """Error of the predictions with one layer on integers and all others in float, by layer."""
    from prunebench.measuring.inference import OnnxNetwork, read_input

    layers, classes = quantizer.layers, len(request.names)
    emit(Stage(what=f"quantizing each of {len(layers)} layers alone"))
    paths = [Path(image) for image in request.calibration[:PROBED]]
    network = OnnxNetwork(Path(request.onnx), request.imgsz, request.session)
    tensors = [read_input(path, request.imgsz, network.head)[0] for path in paths]
    expected = [network(tensor)[0] for tensor in tensors]
    errors = {}
    for done, layer in enumerate(layers, start=1):
        left = [name for name in layers if name != layer]
        alone = OnnxNetwork(quantizer.write("alone", left), request.imgsz, request.session)
        changes = [
            prediction_error(alone(tensor)[0], wanted, classes)
            for tensor, wanted in zip(tensors, expected, strict=True)
        ]
        errors[layer] = sum(changes) / len(changes)
        emit(Progress(done=done, total=len(layers), unit="layer"))
    return errors


def _map50(onnx_file: Path, request: Request, emit: Emit) -> float:
    from prunebench.measuring import accuracy

    shared = request.model_dump(include=set(accuracy.Request.model_fields))
    asked = accuracy.Request.model_validate(shared | {"onnx": str(onnx_file)})
    return accuracy.deciding_map50(accuracy.match_images(asked, emit), request.images)


def _check_output(model: onnx.ModelProto, request: Request) -> None:
    from prunebench.measuring.heads import head_of

    dims = [dim.dim_value for dim in model.graph.output[0].type.tensor_type.shape.dim]
    head = head_of({entry.key: entry.value for entry in model.metadata_props})
    if head.is_end_to_end(dims, len(request.names)):
        raise CheckpointError(
            "it predicts finished detections",
            where=request.onnx,
            fix="export it with its raw predictions (end2end=False, nms=False)",
        )
