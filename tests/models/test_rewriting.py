"""Rewritten graphs of every head compute what the plain ones do, and other graphs stay theirs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from pruning_kit import HW, prune_uniformly, tiny_network
from ultralytics.nn.tasks import DetectionModel

from prunebench.config.sections import LatencyConfig
from prunebench.measuring.inference import OnnxNetwork
from prunebench.measuring.session import SessionSettings
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_provenance
from prunebench.variants.audit import OnnxFinding, audit_file
from prunebench.variants.checkpoint import save_checkpoint
from prunebench.variants.export import export_onnx
from prunebench.variants.retraining.activation import CLASSES, replace_activations
from prunebench.variants.rewriting.apply import PASSES, for_integers, rewrite_file, rewritten
from prunebench.variants.rewriting.editing import Graph
from prunebench.variants.rewriting.specimen import anchors_of, specimen

SESSION = SessionSettings.of(LatencyConfig())

C2F, ATTENTION = 8, 9  # Splits behind a convolution, in networks without attention and with it.
PLACES = {
    "yolov8n": (1, 1, C2F, 2),
    "yolo11n": (1, 1, ATTENTION, 2),
    "yolo26n": (0, 1, ATTENTION, 2),  # Its boxes have no distribution.
    "yolov5n": (1, 1, 0, 2),  # Its blocks (C3) split nothing.
    "yolov8n-seg": (1, 1, C2F, 2),
    "yolo11n-seg": (1, 1, ATTENTION, 2),
    "yolov8n-pose": (1, 1, C2F, 2),
    "yolov8n-obb": (1, 0, C2F, 2),  # Its boxes are turned.
}


@pytest.fixture(scope="module", params=[*PLACES, "pruned", "relu", "hardswish"])
def plain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain export, named after its network; of ``pruned`` some widths are odd."""
    folder = tmp_path_factory.mktemp("plain")
    name = request.param if request.param in PLACES else "yolov8n"
    network = tiny_network(name)
    if request.param in CLASSES:
        replace_activations(network, request.param)
    if request.param == "pruned":
        prune_uniformly(network, ratio=0.3, round_to=None)
    save_checkpoint(network, folder / "source.pt", {})
    return export_onnx(folder / "source.pt", folder, HW, opset=17).rename(folder / f"{name}.onnx")


def differences(one: Path, other: Path, imgsz: tuple[int, int] = HW) -> tuple[float, float]:
    """The largest of any box, in pixels, and of anything else on random images."""
    networks = [OnnxNetwork(path, imgsz, SESSION) for path in (one, other)]
    boxes, others = 0.0, 0.0
    for seed in range(4):
        pixels = np.random.default_rng(seed).random((1, 3, *imgsz), dtype=np.float32)
        (first, *masks), (second, *other_masks) = (network(pixels) for network in networks)
        gap = np.abs(first - second)[0]
        boxes = max(boxes, float(gap[:4].max()))
        others = max(others, float(gap[4:].max()))
        for mask, other_mask in zip(masks, other_masks, strict=True):
            others = max(others, float(np.abs(mask - other_mask).max() / np.abs(mask).max()))
    return boxes, others


def test_a_rewritten_file_computes_the_same(plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "rewritten.onnx"
    path.write_bytes(plain.read_bytes())
    rewriting = rewrite_file(path)
    assert tuple(rewriting.done.values()) == PLACES[plain.stem]
    assert not any(rewriting.unknown.values())
    boxes, others = differences(plain, path)
    assert boxes < 1e-3
    assert others < 1e-5

    before, after = onnx.load(plain), onnx.load(path)
    assert list(before.graph.input) == list(after.graph.input)
    assert list(before.graph.output) == list(after.graph.output)
    assert list(before.metadata_props) == list(after.metadata_props)[:-1]
    ours, theirs = audit_file(path), audit_file(plain)
    assert ours.counted == theirs.counted is not None
    assert ours.onnx is not None
    assert ours.onnx.rewriting == rewriting
    (told,) = tell_provenance(ours.onnx, Messages())
    assert told.startswith("its graph is rewritten to compute the same in less time: ")


def test_anchor_points_that_are_kept_twice_are_known(tmp_path: Path) -> None:
    """As the exporter does where they are many."""
    save_checkpoint(tiny_network("yolov8n"), tmp_path / "source.pt", {})
    imgsz = (192, 320)
    plain = export_onnx(tmp_path / "source.pt", tmp_path, imgsz, opset=17)
    path = tmp_path / "rewritten.onnx"
    path.write_bytes(plain.read_bytes())
    assert tuple(rewrite_file(path).done.values()) == PLACES["yolov8n"]
    boxes, others = differences(plain, path, imgsz)
    assert boxes < 1e-3
    assert others < 1e-5


@pytest.mark.parametrize("plain", ["yolov8n"], indirect=True)
def test_what_passes_are_timed_on_is_what_ultralytics_exports(plain: Path) -> None:
    """Its operators and constants, and YOLOv8n's weights."""
    made, exported = specimen(HW), onnx.load(plain)
    assert _operators(exported) == _operators(made)
    points, strides = anchors_of(HW)
    known = [numpy_helper.to_array(tensor) for tensor in exported.graph.initializer]
    assert any(np.array_equal(points, tensor) for tensor in known)
    assert any(np.array_equal(strides, tensor) for tensor in known)
    network = DetectionModel("yolov8n.yaml", nc=7, verbose=False)
    weights = Counter(tuple(value.shape) for value in network.parameters() if value.dim() == 4)
    assert Counter(tuple(t.dims) for t in made.graph.initializer if len(t.dims) == 4) == weights
    (ours,), (theirs,) = made.graph.output, exported.graph.output
    assert ours.type.tensor_type.shape.dim[2] == theirs.type.tensor_type.shape.dim[2]


def _operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def test_a_pass_that_is_left_out_changes_nothing_and_is_told(tmp_path: Path) -> None:
    onnx.save(specimen(HW), tmp_path / "plain.onnx")
    path = tmp_path / "rewritten.onnx"
    path.write_bytes((tmp_path / "plain.onnx").read_bytes())
    rewriting = rewrite_file(path, ("distribution", "boxes", "upsampling"))
    assert tuple(rewriting.done.values()) == (1, 1, 2)
    assert rewriting.slower == ("halves",)
    assert _operators(onnx.load(path))["Split"] == C2F
    finding = OnnxFinding(
        provenance=None,
        quantization=None,
        rewriting=rewriting,
        head=None,
        layers=1,
        integer_layers=0,
    )
    _, left_out = tell_provenance(finding, Messages())
    assert left_out.endswith("slower with it where the passes were timed: split convolutions")


@pytest.mark.parametrize("name", PASSES)
def test_every_pass_alone_computes_the_same(plain: Path, name: str, tmp_path: Path) -> None:
    graph = Graph(onnx.load(plain))
    one = PASSES[name]
    for place in list(one.places(graph)):
        one.rewrite(graph, place)
    onnx.save(graph.finished(), tmp_path / "one.onnx")
    boxes, others = differences(plain, tmp_path / "one.onnx")
    assert boxes < 1e-3
    assert others < 1e-5


def test_an_int8_file_starts_from_whole_convolutions(plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "rewritten.onnx"
    path.write_bytes(plain.read_bytes())
    rewriting = rewrite_file(path)
    whole = for_integers(onnx.load(path))
    onnx.save(whole, tmp_path / "whole.onnx")
    boxes, others = differences(plain, tmp_path / "whole.onnx")
    assert boxes < 1e-3
    assert others < 1e-5
    finding = audit_file(tmp_path / "whole.onnx")
    assert finding.counted == audit_file(plain).counted
    assert finding.onnx is not None
    assert finding.onnx.rewriting == rewriting.on_integers
    # A half beside the whole is sliced from it; nothing is split only to be joined again.
    kinds, before, halved = map(_operators, (whole, onnx.load(plain), onnx.load(path)))
    sliced = kinds["Slice"] - halved["Slice"]
    assert sliced == before["Split"] - kinds["Split"] >= min(before["Split"], C2F)


def test_the_same_file_gives_the_same_bytes_and_nothing_is_left_to_rewrite(plain: Path) -> None:
    model = onnx.load(plain)
    once, _ = rewritten(model)
    again, _ = rewritten(model)
    assert once.SerializeToString(deterministic=True) == again.SerializeToString(deterministic=True)
    assert model == onnx.load(plain)
    _, rewriting = rewritten(once)
    assert not any(rewriting.done.values())


def _of_kind(model: onnx.ModelProto, kind: str, name: str) -> Any:
    return next(n for n in model.graph.node if n.op_type == kind and name in n.name)


def _other_transpose(model: onnx.ModelProto) -> None:
    """Axes of size 1 change places with those of the bins, and back."""
    node = _of_kind(model, "Transpose", "/dfl/")
    made = f"{node.output[0]}_other"
    second = helper.make_node("Transpose", [made], [node.output[0]], perm=[0, 1, 2, 3], name="two")
    node.output[0] = made
    model.graph.node.insert([*model.graph.node].index(node) + 1, second)


def _gate_elsewhere(model: onnx.ModelProto) -> None:
    """What is split is gated by something else than itself."""
    node = _of_kind(model, "Mul", "/model.2/cv1/act/")
    node.input[:] = [node.input[1], node.input[1]]


def _smooth(model: onnx.ModelProto) -> None:
    """Upsampled smoothly: a pixel is then a mean of several."""
    node = _of_kind(model, "Resize", "")
    kept = [item for item in node.attribute if item.name not in ("mode", "nearest_mode")]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute("mode", "linear")])


def _other_half(model: onnx.ModelProto) -> None:
    """The middle of a box a third along the way."""
    node = _of_kind(model, "Div", "/model.22/")
    model.graph.initializer.append(numpy_helper.from_array(np.float32(3), "three"))
    node.input[1] = "three"


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (_other_half, "boxes"),
        (_other_transpose, "distribution"),
        (_gate_elsewhere, "halves"),
        (_smooth, "upsampling"),
    ],
)
def test_what_a_pass_does_not_know_is_left_as_it_is(
    change: Callable[[onnx.ModelProto], None], name: str, tmp_path: Path
) -> None:
    save_checkpoint(tiny_network("yolov8n"), tmp_path / "source.pt", {})
    path = export_onnx(tmp_path / "source.pt", tmp_path, HW, opset=17)
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)
    target = tmp_path / "rewritten.onnx"
    target.write_bytes(path.read_bytes())
    rewriting = rewrite_file(target)
    usual = dict(zip(PASSES, PLACES["yolov8n"], strict=True))
    assert rewriting.unknown == {one: int(one == name) for one in PASSES}
    assert rewriting.done == usual | {name: usual[name] - 1}
    boxes, others = differences(path, target)
    assert boxes < 1e-3
    assert others < 1e-5
    finding = audit_file(target).onnx
    assert finding is not None
    assert sum("left as exported" in told for told in tell_provenance(finding, Messages())) == 1


def test_a_graph_without_any_place_says_so(tmp_path: Path) -> None:
    given = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 2])
    made = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 2])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [given], [made])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    same, rewriting = rewritten(model)
    assert same.graph == model.graph
    assert not any(rewriting.done.values())
    assert not any(rewriting.unknown.values())
