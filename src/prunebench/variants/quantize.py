"""Step ``quantize``: an INT8 sibling of an exported file that loses no more mAP50 than allowed.

First all layers go on integers but the decoding and those that are faster in float. Where that
loses too much, the layers that hurt most stay in float, found as in the partial quantization of Wu
et al. ("Integer Quantization for Deep Learning Inference", arXiv 2004.09602): each layer is
quantized alone, layers are sorted by the error this makes, and the worst are left in float. How
many that must be is found by doubling and then halving.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from prunebench.common.errors import CheckpointError, DatasetError, StepError
from prunebench.common.records import FileRef, Record
from prunebench.measuring.onnx_graph import convolutions, integer_convolutions
from prunebench.measuring.session import SessionSettings
from prunebench.steps.events import Emit, Progress, Stage
from prunebench.variants.export import ONNX_FILE
from prunebench.variants.quantizer import Activations, Quantizer

if TYPE_CHECKING:
    import onnx

    from prunebench.measuring.inference import FloatArray

T = TypeVar("T")

STEP = "quantize"

PROBED = 16
"""Calibration images on which the error of each layer alone is judged."""

MOST_LEFT = 0.5
"""Share of the layers that may stay in float: with more of them, little time is saved."""


class Request(Record):
    """Input of the step.

    Attributes:
        onnx: Absolute path of the exported float file: batch 1, static, raw head output.
        calibration: Absolute paths of the training images the ranges come from.
        images: Absolute paths of the labelled images the loss of accuracy is judged on.
        names: Class index to name.
        imgsz: (height, width) of the letterbox in pixels.
        confidence: Scores at or below are dropped.
        iou: IoU above which NMS drops a box.
        max_det: Most detections per image.
        max_map50_loss: mAP50 the file may lose against the float file; 0.01 is a point.
        session: The session options latency is measured with.
        arm: Make activations signed, as the kernels of ARM like them; those of x86 like them
            unsigned.
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
    arm: bool = False


class Quantized(Record):
    """An INT8 file and what is known of it.

    Attributes:
        onnx: The file; its input, outputs and metadata are the float file's.
        layers: Convolutions in it.
        quantized: Those of them on integers.
        left_float: The others, name of the node to the reason.
        map50_float: mAP50 of the float file, 0..1.
        map50: mAP50 of this file on the same images.
        activations: Whether its activations are unsigned or signed.
        calibration_images: Images the ranges come from.
    """

    onnx: FileRef
    layers: int
    quantized: int
    left_float: dict[str, str]
    map50_float: float
    map50: float
    activations: Activations
    calibration_images: int


def run(request: Request, workdir: Path, emit: Emit) -> Quantized:
    """Quantize an exported file.

    Raises:
        CheckpointError: The file cannot be loaded, is quantized already, predicts finished
            detections, or is made for another input or classes.
        DatasetError: There is no image to calibrate on, an image or a label file cannot be read,
            or no object is labelled.
        StepError: It loses more mAP50 than allowed with ``MOST_LEFT`` of its layers in float.
    """
    import onnx

    path = Path(request.onnx)
    if not request.calibration:
        raise DatasetError(
            "there is no image to calibrate on", where=path, fix="give it training images"
        )
    with tempfile.TemporaryDirectory(dir=workdir, prefix=".quantize.") as folder:
        activations: Activations = "s8" if request.arm else "u8"
        quantizer = Quantizer(path, request.imgsz, activations, request.session, Path(folder))
        _check_output(quantizer.model, request)
        emit(Stage(what=f"evaluating in float on {len(request.images)} images"))
        map50_float = _map50(path, request, emit)
        emit(Stage(what=f"calibrating on {len(request.calibration)} images"))
        quantizer.calibrate([Path(image) for image in request.calibration], emit)
        trial, reasons = _search(quantizer, request, map50_float, emit)
        target = workdir / ONNX_FILE
        trial.path.replace(target)
    reasons |= quantizer.kept_float
    written = onnx.load(target)
    integers = integer_convolutions(written)
    left = [node for node in convolutions(written) if node.name not in integers]
    return Quantized(
        onnx=FileRef.of(target, workdir),
        layers=len(integers) + len(left),
        quantized=len(integers),
        left_float={
            node.name: reasons.get(node.name, "onnxruntime left it in float") for node in left
        },
        map50_float=map50_float,
        map50=trial.map50,
        activations=activations,
        calibration_images=len(request.calibration),
    )


class _Trial(NamedTuple):
    """A quantized file and its accuracy."""

    path: Path
    map50: float


def _search(
    quantizer: Quantizer, request: Request, map50_float: float, emit: Emit
) -> tuple[_Trial, dict[str, str]]:
    """The file with the fewest layers in float that is within the limit, and why those are."""

    def attempt(left: Collection[str]) -> _Trial:
        text = f"evaluating with {len(left)} of {len(quantizer.layers)} layers left in float"
        emit(Stage(what=text))
        path = quantizer.write(f"left-{len(left)}", left)
        return _Trial(path, _map50(path, request, emit))

    def within(trial: _Trial) -> bool:
        return map50_float - trial.map50 <= request.max_map50_loss

    trial = attempt(())
    if within(trial):
        return trial, {}
    errors = _errors_alone(quantizer, request, emit)
    worst = sorted(errors, key=lambda name: -errors[name])
    most = int(MOST_LEFT * len(worst))
    tried = [trial]

    def attempt_worst(count: int) -> _Trial:
        tried.append(attempt(worst[:count]))
        return tried[-1]

    found = fewest(attempt_worst, within, most)
    if found is None:
        nearest = map50_float - max(one.map50 for one in tried)
        raise StepError(
            STEP,
            f"with {most} of {len(worst)} layers left in float the INT8 file still loses too much: "
            f"{nearest:.4f} mAP50 at best of {map50_float:.4f}, {request.max_map50_loss:g} is "
            "allowed",
        )
    count, trial = found
    return trial, {
        name: f"alone on integers it moves scores and boxes by {errors[name]:.1%}"
        for name in worst[:count]
    }


def fewest(
    attempt: Callable[[int], T], within: Callable[[T], bool], most: int
) -> tuple[int, T] | None:
    """The smallest count from 1 to ``most`` found to be within, and what its attempt gave.

    Doubles the count until it is within, then halves the gap to the last that was not: where more
    is never worse, no smaller count is within. ``None`` where not even ``most`` is.
    """
    low, high = 0, min(1, most)
    while not within(result := attempt(high)):
        if high == most:
            return None
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        candidate = attempt(middle)
        if within(candidate):
            high, result = middle, candidate
        else:
            low = middle
    return high, result


def _errors_alone(quantizer: Quantizer, request: Request, emit: Emit) -> dict[str, float]:
    """Error of the predictions with one layer on integers and all others in float, by layer."""
    import numpy as np

    from prunebench.measuring.inference import OnnxNetwork, read_letterboxed

    layers, classes = quantizer.layers, len(request.names)
    emit(Stage(what=f"quantizing each of {len(layers)} layers alone"))
    paths = [Path(image) for image in request.calibration[:PROBED]]
    tensors = [read_letterboxed(path, request.imgsz)[0] for path in paths]
    network = OnnxNetwork(Path(request.onnx), request.imgsz, request.session)
    expected = [network(tensor)[0] for tensor in tensors]
    errors = {}
    for index, layer in enumerate(layers):
        alone = OnnxNetwork(
            quantizer.write("alone", [name for name in layers if name != layer]),
            request.imgsz,
            request.session,
        )
        errors[layer] = float(
            np.mean(
                [
                    prediction_error(alone(tensor)[0], wanted, classes)
                    for tensor, wanted in zip(tensors, expected, strict=True)
                ]
            )
        )
        emit(Progress(done=index + 1, total=len(layers), unit="layer"))
    return errors


def prediction_error(actual: FloatArray, expected: FloatArray, classes: int) -> float:
    """How far predictions have moved: relative change of all scores, plus the IoU boxes lost.

    Boxes are weighted by their best expected score, so that those of the background, which no
    detection comes from, do not count.

    Args:
        actual: (1, 4 + classes [+ 32], anchors) boxes as centre, width and height, with scores.
        expected: The same, as the float file predicts it.
        classes: Number of classes.

    Returns:
        0 for equal predictions.
    """
    import numpy as np
    import torch
    from ultralytics.utils.metrics import bbox_iou

    scores = expected[0, 4 : 4 + classes]
    moved = np.abs(actual[0, 4 : 4 + classes] - scores).sum() / scores.sum()
    found, wanted = (torch.from_numpy(item[0, :4].T) for item in (actual, expected))
    lost = 1 - bbox_iou(found, wanted, xywh=True)[:, 0].numpy()
    return float(moved + np.average(lost, weights=scores.max(axis=0)))


def _map50(onnx_file: Path, request: Request, emit: Emit) -> float:
    from prunebench.measuring import accuracy

    shared = request.model_dump(include=set(accuracy.Request.model_fields))
    asked = accuracy.Request.model_validate(shared | {"onnx": str(onnx_file)})
    boxes, masks = accuracy.match_images(asked, emit)
    # A mask is cut out by its box, so masks suffer from whatever boxes do.
    matches = boxes if masks is None else masks
    accuracy.check_labelled(matches, request.images)
    map50: float = accuracy.figures(matches, request.names)["map50"]
    return map50


def _check_output(model: onnx.ModelProto, request: Request) -> None:
    from prunebench.measuring.postprocess import is_end_to_end

    dims = model.graph.output[0].type.tensor_type.shape.dim
    if is_end_to_end(tuple(dim.dim_value for dim in dims), len(request.names)):
        raise CheckpointError(
            "it predicts finished detections",
            where=request.onnx,
            fix="export it with its raw predictions (end2end=False, nms=False)",
        )
