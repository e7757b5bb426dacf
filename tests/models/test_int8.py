"""Which nodes of real heads go on integers, by the names Ultralytics gives their modules."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from pruning_kit import HW, tiny_network

from prunebench.config.sections import LatencyConfig
from prunebench.measuring.inference import OnnxNetwork
from prunebench.measuring.onnx_graph import convolutions, integer_convolutions, module_of
from prunebench.measuring.session import SessionSettings, open_session, session_options
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_provenance
from prunebench.variants.audit import audit_file
from prunebench.variants.checkpoint import save_checkpoint
from prunebench.variants.export import export_onnx
from prunebench.variants.int8.quantizer import Quantizer
from prunebench.variants.int8.silu import with_one_operator
from prunebench.variants.retraining.activation import replace_activations
from prunebench.variants.rewriting.apply import rewrite_file

SESSION = SessionSettings.of(LatencyConfig())

TRAINED = ("cv2", "cv3", "cv4", "proto")
"""Modules of a head that are trained layers; everything else of it decodes."""


def export(name: str, folder: Path) -> Path:
    save_checkpoint(tiny_network(name), folder / "source.pt", {})
    return export_onnx(folder / "source.pt", folder, HW, opset=17)


def calibrated(path: Path, folder: Path) -> Quantizer:
    """A quantizer of an exported file that has seen one image."""
    image = folder / "image.png"
    cv2.imwrite(str(image), np.random.default_rng(0).integers(0, 255, (54, 96, 3), dtype=np.uint8))
    work = folder / "work"
    work.mkdir()
    quantizer = Quantizer(path, HW, "u8", SESSION, work)
    quantizer.calibrate([image], lambda event: None)
    return quantizer


def optimised(path: Path) -> Counter[str]:
    """What onnxruntime runs, by kind: whatever falls back to float does so silently."""
    options = session_options(SESSION)
    target = path.with_name("optimised.onnx")
    options.optimized_model_filepath = str(target)
    open_session(str(path), options)
    return Counter(node.op_type for node in onnx.load(target).graph.node)


@pytest.mark.parametrize("name", ["yolov8n", "yolo26n", "yolov8n-seg"])
def test_all_but_the_decoding_of_a_head(name: str, tmp_path: Path) -> None:
    path = export(name, tmp_path)
    quantizer = calibrated(path, tmp_path)
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


@pytest.mark.parametrize("name", ["yolov8n", "yolo11n", "yolo26n", "yolov8n-seg"])
def test_a_rewritten_network_on_integers(name: str, tmp_path: Path) -> None:
    path = export(name, tmp_path)
    counted = audit_file(path).counted
    rewrite_file(path)
    quantizer = calibrated(path, tmp_path)
    written = quantizer.write("all")
    model = onnx.load(written)

    kinds = optimised(written)
    assert kinds["QLinearConv"] == len(integer_convolutions(model)) == len(quantizer.layers)
    assert kinds["QuickGelu"] == sum(n.op_type == "QuickGelu" for n in model.graph.node) > 50

    scales = {node.output[0]: node.input[1] for node in model.graph.node if "Dequ" in node.op_type}
    stored = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    joined = [n for n in model.graph.node if n.op_type == "Concat" and n.input[0] in scales]
    assert len(joined) >= 10
    for node in joined:
        assert len({float(stored[scales[taken]]) for taken in node.input}) == 1

    ours = audit_file(written)
    assert ours.counted == counted is not None
    assert ours.onnx is not None
    assert len(quantizer.layers) > ours.onnx.integer_layers > 40
    modules = {module_of(n.input[1]) for n in convolutions(model)}
    assert ours.onnx.integer_layers == len(modules) - len(quantizer.kept_float)


def test_a_relu_costs_an_integer_convolution_nothing(tmp_path: Path) -> None:
    network = tiny_network("yolov8n")
    replaced = replace_activations(network, "relu")
    save_checkpoint(network, tmp_path / "source.pt", {})
    path = export_onnx(tmp_path / "source.pt", tmp_path, HW, opset=17)
    rewrite_file(path)
    quantizer = calibrated(path, tmp_path)
    kinds = optimised(quantizer.write("all"))
    assert kinds["QLinearConv"] == len(quantizer.layers) > replaced
    # The first layer's is in float and folded, too; behind it everything stays on integers.
    assert not kinds.keys() & {"Relu", "QuickGelu", "QLinearSigmoid"}
    assert (kinds["Conv"], kinds["QuantizeLinear"]) == (1, 1)


def test_a_runtime_without_the_operator_finds_it_in_the_file(tmp_path: Path) -> None:
    """The reference evaluator knows standard operators alone."""
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [4])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [4])
    nodes = [
        helper.make_node("Sigmoid", ["x"], ["gate"], name="gate"),
        helper.make_node("Mul", ["gate", "x"], ["silu"], name="silu"),
        helper.make_node("Neg", ["silu"], ["y"], name="neg"),
    ]
    graph = helper.make_graph(nodes, "silu", [x], [y])
    plain = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = with_one_operator(plain)
    assert [node.op_type for node in model.graph.node] == ["QuickGelu", "Neg"]
    values = np.array([-20, -1, 0.5, 30], np.float32)
    expected = -values / (1 + np.exp(-values))
    (found,) = ReferenceEvaluator(model).run(None, {"x": values})
    assert found == pytest.approx(expected, abs=1e-6)
    onnx.save(model, tmp_path / "silu.onnx")
    session = open_session(str(tmp_path / "silu.onnx"), session_options(SESSION))
    assert session.run(None, {"x": values})[0] == pytest.approx(expected, abs=1e-6)


def test_module_names() -> None:
    assert module_of("model.0.conv.weight") == "model.0.conv"
    assert module_of("model.2.cv1.conv.weight#half0#low") == "model.2.cv1.conv"
    assert module_of("model.0.conv.weight_DequantizeLinear_Output") == "model.0.conv"
