"""Which layers of an INT8 file stay in float, and why.

The decoding does, and so do layers that are faster in float (``kept_float``). Where that loses too
much accuracy, the layers that hurt most do as well (``leave_worst``), found as in the partial
quantization of Wu et al. ("Integer Quantization for Deep Learning Inference", arXiv 2004.09602):
each layer is quantized alone, layers are sorted by the error this makes, and the worst are left in
float. How many that must be is found by doubling and then halving.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from prunebench.common.errors import StepError
from prunebench.measuring.onnx_graph import GATHERING, convolutions, is_conv
from prunebench.steps.events import Emit, Stage

if TYPE_CHECKING:
    import onnx

    from prunebench.measuring.inference import FloatArray

T = TypeVar("T")

Write = Callable[[str, Collection[str]], Path]
"""Writes a file of a name with the layers of these names in float."""

FOLLOWING = ("Add", "Concat", "MaxPool", "Relu", "Resize", "Slice", "Split")
"""Operators quantized beside convolutions: in float they would cost a conversion on every side."""

DOT_PRODUCT = 4
"""Pairs of 8-bit integers one instruction multiplies and adds up, of x86's VNNI and ARM's alike."""

MOST_LEFT = 0.5
"""Share of the layers that may stay in float: with more of them, little time is saved."""


class Trial(NamedTuple):
    """A quantized file and its accuracy."""

    path: Path
    map50: float


def kept_float(
    model: onnx.ModelProto, decoding: Collection[str], narrow: bool = False
) -> dict[str, str]:
    """Convolutions that cannot go on integers or gain nothing by it, name to reason.

    ``narrow``: those of few input channels gain, as the device was measured to run them.
    """
    weights = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    reasons = {}
    for node in convolutions(model):
        inputs = weights[node.input[1]][1]
        groups = next((item.i for item in node.attribute if item.name == "group"), 1)
        if node.name in decoding:
            reasons[node.name] = "decodes the boxes"
        elif node.op_type != "Conv":
            reasons[node.name] = f"onnxruntime has no integer kernel of {node.op_type}"
        elif groups == 1 and inputs < DOT_PRODUCT and not narrow:
            # With AVX-512 VNNI, yolov8n's first layer at 192x320 takes 1.2 ms so, and 0.4 in float.
            reasons[node.name] = f"its {inputs} input channels do not fill an integer dot product"
    return reasons


def sources_of(model: onnx.ModelProto) -> dict[str, frozenset[str]]:
    """Nodes that can be quantized, each with the convolutions its values come from directly.

    A convolution comes from itself. SiLU stays in float, and so does a sum that it is taken of, and
    an upsampling for nothing but such sums: a quarter of its pixels are converted then.
    """
    gated = {node.input[0] for node in model.graph.node if node.op_type == "Sigmoid"}
    behind: dict[str, frozenset[str]] = {}
    found: dict[str, frozenset[str]] = {}
    for node in model.graph.node:
        given = [behind.get(name, frozenset()) for name in node.input]
        sources = frozenset((node.name,)) if is_conv(node) else frozenset().union(*given)
        behind.update(dict.fromkeys(node.output, sources))
        summed = node.op_type == "Add" and node.output[0] in gated
        if node.op_type in ("Conv", *FOLLOWING, *GATHERING) and not summed:
            found[node.name] = sources
    taken = {name for node in model.graph.node if node.name in found for name in node.input}
    for node in model.graph.node:
        if node.op_type == "Resize" and node.output[0] not in taken:
            found.pop(node.name, None)
    return found


def leave_worst(
    layers: Sequence[str],
    write: Write,
    map50: Callable[[Path], float],
    errors_alone: Callable[[], dict[str, float]],
    map50_float: float,
    max_loss: float,
    emit: Emit,
) -> tuple[Trial, dict[str, str]]:
    """The file with the fewest layers in float that is within the limit, and why those are.

    Args:
        layers: The convolutions that can go on integers.
        errors_alone: Gives the error that each layer makes, alone on integers.
        max_loss: mAP50 that may be lost against the float file's, ``map50_float``.

    Raises:
        StepError: It loses more with ``MOST_LEFT`` of its layers in float.
    """
    tried: list[Trial] = []

    def attempt(left: Collection[str]) -> Trial:
        emit(Stage(what=f"evaluating with {len(left)} of {len(layers)} layers left in float"))
        path = write(f"left-{len(left)}", left)
        tried.append(Trial(path, map50(path)))
        return tried[-1]

    def within(trial: Trial) -> bool:
        return map50_float - trial.map50 <= max_loss

    trial = attempt(())
    if within(trial):
        return trial, {}
    errors = errors_alone()
    worst = sorted(errors, key=lambda name: -errors[name])
    most = int(MOST_LEFT * len(worst))
    found = fewest(lambda count: attempt(worst[:count]), within, most)
    if found is None:
        nearest = map50_float - max(one.map50 for one in tried)
        raise StepError(
            "quantize",
            f"with {most} of {len(worst)} layers left in float the INT8 file still loses too much: "
            f"{nearest:.4f} of accuracy at best, of {map50_float:.4f}, {max_loss:g} is allowed",
        )
    count, trial = found
    return trial, {
        name: f"alone on integers it moves the predictions by {errors[name]:.1%}"
        for name in worst[:count]
    }


def fewest(
    attempt: Callable[[int], T], within: Callable[[T], bool], most: int
) -> tuple[int, T] | None:
    """The smallest count from 1 to ``most`` found to be within, and what its attempt gave.

    Doubles the count until it is within, then halves the gap to the last that was not: where more
    is never worse, no smaller count is within. ``None`` where not even ``most`` is.
    """
    results: dict[int, T] = {}

    def fits(count: int) -> bool:
        results[count] = attempt(count)
        return within(results[count])

    low, high = 0, min(1, most)
    while not fits(high):
        if high == most:
            return None
        low, high = high, min(2 * high, most)
    between = range(low + 1, high)
    count = low + 1 + bisect.bisect_left(between, True, key=fits)
    return count, results[count]


def prediction_error(actual: FloatArray, expected: FloatArray, classes: int) -> float:
    """How far predictions have moved: relative change of all scores, plus the IoU boxes lost.

    Boxes are weighted by their best expected score, so that those of the background, which no
    detection comes from, do not count. Both arrays have the shape (1, 4 + classes [+ 32], anchors):
    centre, width and height of the boxes, then scores; or (1, classes) of what predicts no boxes.
    Equal predictions give 0.
    """
    import numpy as np
    import torch
    from ultralytics.utils.metrics import bbox_iou

    if expected.ndim == 2:
        return float(np.abs(actual - expected).sum() / expected.sum())
    scores = expected[0, 4 : 4 + classes]
    moved = np.abs(actual[0, 4 : 4 + classes] - scores).sum() / scores.sum()
    found, wanted = (torch.from_numpy(item[0, :4].T) for item in (actual, expected))
    lost = 1 - bbox_iou(found, wanted, xywh=True)[:, 0].numpy()
    return float(moved + np.average(lost, weights=scores.max(axis=0)))
