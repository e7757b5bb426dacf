"""Which nodes of real heads go on integers, by the names Ultralytics gives their modules."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from pruning_kit import HW, tiny_network

from prunebench.config.sections import LatencyConfig
from prunebench.measuring.inference import OnnxNetwork
from prunebench.measuring.onnx_graph import convolutions, integer_convolutions, module_of
from prunebench.measuring.session import SessionSettings
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_provenance
from prunebench.variants.audit import audit_file
from prunebench.variants.checkpoint import save_checkpoint
from prunebench.variants.export import export_onnx
from prunebench.variants.int8.quantizer import Quantizer

SESSION = SessionSettings.of(LatencyConfig())

TRAINED = ("cv2", "cv3", "cv4", "proto")
"""Modules of a head that are trained layers; everything else of it decodes."""


def export(name: str, folder: Path) -> Path:
    save_checkpoint(tiny_network(name), folder / "source.pt", {})
    return export_onnx(folder / "source.pt", folder, HW, opset=17)


@pytest.mark.parametrize("name", ["yolov8n", "yolo26n", "yolov8n-seg"])
def test_all_but_the_decoding_of_a_head(name: str, tmp_path: Path) -> None:
    path = export(name, tmp_path)
    image = tmp_path / "image.png"
    cv2.imwrite(str(image), np.random.default_rng(0).integers(0, 255, (54, 96, 3), dtype=np.uint8))
    work = tmp_path / "work"
    work.mkdir()
    quantizer = Quantizer(path, HW, "u8", SESSION, work)
    quantizer.calibrate([image], lambda event: None)
    written = quantizer.write("all")

    float_model, model = onnx.load(path), onnx.load(written)
    last = max(int(node.name.split("/")[1].split(".")[1]) for node in float_model.graph.node)
    head = [node.name for node in float_model.graph.node if f"/model.{last}/" in node.name]
    decoding = {node for node in head if node.split("/")[2].split(".")[0] not in TRAINED}
    if name.endswith("-seg"):
        # Behind the last convolution of the mask prototypes.
        decoding |= {node for node in head if "/proto/cv3/act/" in node}
    assert quantizer.decoding == decoding

    left = {
        node.name for node in convolutions(model) if node.name not in integer_convolutions(model)
    }
    dfl = {node for node in decoding if node.endswith("/dfl/conv/Conv")}
    upsampling = {node.name for node in convolutions(model) if node.op_type == "ConvTranspose"}
    assert len(dfl) == (0 if name == "yolo26n" else 1)
    assert len(upsampling) == (1 if name.endswith("-seg") else 0)
    assert left == {"/model.0/conv/Conv"} | dfl | upsampling
    assert left == quantizer.kept_float.keys()

    pixels = np.random.default_rng(1).random((1, 3, *HW), dtype=np.float32)
    before, after = (OnnxNetwork(file, HW, SESSION)(pixels) for file in (path, written))
    assert [item.shape for item in before] == [item.shape for item in after]
    assert list(float_model.metadata_props) == list(model.metadata_props)
    ours, theirs = audit_file(written), audit_file(path)
    assert ours.counted == theirs.counted is not None
    assert ours.onnx is not None
    assert tell_provenance(ours.onnx, Messages()) == [
        f"{len(integer_convolutions(model))} of {len(convolutions(model))} convolutions compute in "
        "INT8, and no word in the file on how it was quantized"
    ]


def test_module_names() -> None:
    assert module_of("model.0.conv.weight") == "model.0.conv"
    assert module_of("model.0.conv.weight_DequantizeLinear_Output") == "model.0.conv"
