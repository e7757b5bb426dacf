"""NNCF's INT8 file of a float one, for OpenVINO: a control of our own.

NNCF quantizes what it can, and where that loses too much accuracy gives operators back to float,
those first without whose rounding most accuracy returns. It calibrates on the images that our own
step does, leaves the same decoding in float, and has its loss judged by the same evaluator on the
same images. It changes its process for good (loggers, numbers' display), so it has one of its own.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prunebench.common.errors import DatasetError, StepError
from prunebench.common.records import Overlap, Quantization
from prunebench.measuring import accuracy
from prunebench.measuring.inference import OnnxNetwork, read_input
from prunebench.measuring.onnx_graph import decoding
from prunebench.steps.events import Emit, Stage

if TYPE_CHECKING:
    import openvino

    from prunebench.measuring.map_bootstrap import Detections

WHOLE = "/WithoutBiases"
"""Ends OpenVINO's name of a convolution, whose bias it adds in an operator of the ONNX name."""

F32 = {"INFERENCE_PRECISION_HINT": "f32"}


def quantized(
    asked: accuracy.Request,
    calibration: Sequence[str],
    max_map50_loss: float,
    folder: Path,
    emit: Emit,
) -> tuple[Path, Quantization]:
    """An archive of OpenVINO's two files, and what is on integers in it.

    Args:
        asked: How the float ONNX file is evaluated, and on which images a loss is judged.
        calibration: Images that the ranges come from.
        max_map50_loss: mAP50 that may be lost against the float file.
        folder: A folder of its own.

    Raises:
        DatasetError: There is no image to calibrate on, or no labelled object to judge by.
        StepError: It loses more, whatever NNCF gives back to float.
    """
    import onnx

    # First: it takes away what OpenVINO, and NNCF too, would report to their makers with.
    from prunebench.measuring.runtimes.on_openvino import InOpenVino

    os.environ["TTY_COMPATIBLE"] = "0"  # Else its bars mix with what is told to the parent.
    import nncf
    import openvino

    if not calibration:
        raise DatasetError(
            "there is no image to calibrate on", where=asked.onnx, fix="give it training images"
        )
    head = OnnxNetwork(Path(asked.onnx), asked.imgsz, asked.session, asked.sigmas).head
    graph = onnx.load(asked.onnx, load_external_data=False)
    core = openvino.Core()
    model = core.read_model(asked.onnx)

    def found(compiled: openvino.CompiledModel, images: Iterable[str]) -> dict[Overlap, Detections]:
        some = asked.model_copy(update={"images": tuple(images)})
        return accuracy.match_network(InOpenVino(compiled), head, some, emit)

    def judged(compiled: openvino.CompiledModel, images: Iterable[str]) -> float:
        matches = accuracy.deciding(found(compiled, images))
        # It is asked of images alone as well, and what is no number NNCF would rank first.
        return accuracy.figures(matches)["map50"] if matches.target_counts.any() else 0.0

    def map50_of(one: openvino.Model) -> float:
        compiled = core.compile_model(one, "CPU", F32)
        return accuracy.deciding_map50(found(compiled, asked.images), asked.images)

    emit(Stage(what=f"evaluating in float on {len(asked.images)} images"))
    map50_float = map50_of(model)
    emit(Stage(what=f"quantizing by NNCF, calibrated on {len(calibration)} images"))
    decoded = decoding(graph)
    last = [output.name for output in graph.graph.output]  # OpenVINO's name of what makes it.
    made = nncf.quantize_with_accuracy_control(
        model,
        calibration_dataset=nncf.Dataset(
            calibration, lambda image: read_input(Path(image), asked.imgsz, head)[0]
        ),
        validation_dataset=nncf.Dataset(asked.images),
        validation_fn=judged,
        max_drop=max_map50_loss,
        subset_size=len(calibration),
        # As in its own example of a YOLO: SiLU gives few values below zero.
        preset=nncf.QuantizationPreset.MIXED,
        ignored_scope=nncf.IgnoredScope(
            names=sorted({*decoded, *(name + WHOLE for name in decoded), *last}), validate=False
        ),
    )
    emit(Stage(what=f"evaluating in INT8 on {len(asked.images)} images"))
    map50 = map50_of(made)
    # It gives what loses least, even where that is more than allowed, and says so in its log alone.
    if (lost := map50_float - map50) > max_map50_loss:
        raise StepError(
            "convert",
            f"NNCF's file loses too much, whatever it leaves in float: {lost:.4f} of accuracy, of "
            f"{map50_float:.4f}, {max_map50_loss:g} is allowed",
        )
    layers = {
        op.get_friendly_name().removesuffix(WHOLE): on_integers(op)
        for op in made.get_ordered_ops()
        if "Convolution" in op.get_type_name()
    }
    return archived(made, folder), Quantization(
        layers=len(layers),
        quantized=sum(layers.values()),
        left_float={
            name: "decodes the boxes" if name in decoded else "NNCF left it in float"
            for name, integers in layers.items()
            if not integers
        },
        map50_float=map50_float,
        map50=map50,
        activations="u8",
        calibration_images=len(calibration),
    )


def on_integers(layer: openvino.Node) -> bool:
    """Whether the weight of a convolution is of 8 bits."""
    weight = layer.input_value(1).get_node()
    while weight.get_type_name() != "Constant":
        weight = weight.input_value(0).get_node()
    return bool(weight.get_element_type().get_size() == 1)


def archived(model: openvino.Model, folder: Path) -> Path:
    """OpenVINO's two files of a model, in one."""
    import openvino

    from prunebench.measuring.runtimes.on_openvino import BIN, XML

    openvino.save_model(model, folder / XML, compress_to_fp16=False)
    packed = folder / "packed"
    with zipfile.ZipFile(packed, "w") as archive:
        for name in (XML, BIN):
            # Without the time, so that the same file gives the same bytes.
            archive.writestr(zipfile.ZipInfo(name), (folder / name).read_bytes())
    return packed
