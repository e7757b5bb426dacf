"""Graphs with one thing otherwise than a pass knows it: they compute what they did, whatever."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from prunebench.config.sections import LatencyConfig
from prunebench.measuring.session import SessionSettings, open_session, session_options
from prunebench.variants.rewriting.apply import PASSES, rewritten
from prunebench.variants.rewriting.specimen import specimen

HW = (32, 64)
OPTIONS = session_options(SessionSettings.of(LatencyConfig()), 1)
USUAL = {"distribution": 1, "boxes": 1, "halves": 8, "upsampling": 2}

TOUCHED = {
    "distribution": ("/model.22.cv2.1.2/Conv", "/model.22.cv2.1/", "/model.22.bins/", "/dfl/"),
    "boxes": ("/near/", "/far/", "/both/", "/middle/", "/size/", "/boxes/", "/pixels/"),
    "halves": ("/model.4.cv1", "/model.4/Split"),
    "upsampling": ("/model.13/", "/model.13.joined/", "/model.15.cv1/conv/"),
}
"""In the names of the nodes around one place of each pass."""


def edges(model: onnx.ModelProto, name: str) -> Iterator[tuple[onnx.NodeProto, int]]:
    for node in model.graph.node:
        if any(mark in node.name for mark in TOUCHED[name]):
            yield from ((node, index) for index, given in enumerate(node.input) if given)


MOST_EDGES = max(len(list(edges(specimen(HW), name))) for name in PASSES)


def interrupt(model: onnx.ModelProto, node: onnx.NodeProto, index: int) -> None:
    """Let a node take what it takes from an operator between, a constant too."""
    given, made = node.input[index], f"{node.name}.{index}"
    between = helper.make_node("Identity", [given], [made], name=made)
    node.input[index] = made
    model.graph.node.insert([*model.graph.node].index(node), between)


def outputs(model: onnx.ModelProto) -> list[np.ndarray]:
    session = open_session(model.SerializeToString(), OPTIONS)
    pixels = np.random.default_rng(0).random((1, 3, *HW), dtype=np.float32)
    found: list[np.ndarray] = session.run(None, {"images": pixels})
    return found


def same_or_untouched(model: onnx.ModelProto) -> dict[str, int]:
    """Places that were left as they are, by pass."""
    ours, rewriting = rewritten(model)
    for before, after in zip(outputs(model), outputs(ours), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4)
    left = {name: USUAL[name] - done for name, done in rewriting.done.items()}
    assert all(rewriting.unknown[name] <= count for name, count in left.items())
    return left


@pytest.mark.parametrize("number", range(MOST_EDGES))
def test_an_operator_between_any_two_nodes_changes_no_result(number: int) -> None:
    model = specimen(HW)
    for name in PASSES:
        found = list(edges(model, name))
        if number < len(found):
            interrupt(model, *found[number])
    same_or_untouched(model)


def without_biases(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        if node.op_type == "Conv":
            del node.input[2:]


def seen_outside(model: onnx.ModelProto) -> None:
    kinds = ("Concat", "Conv", "Mul", "Softmax", "Split", "Sub")
    for node in model.graph.node:
        if node.op_type in kinds and node.output[0] != "output0":
            seen = helper.make_tensor_value_info(node.output[0], onnx.TensorProto.FLOAT, None)
            model.graph.output.append(seen)
    inferred = onnx.shape_inference.infer_shapes(model)
    model.CopyFrom(inferred)


def in_groups(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        if node.op_type == "Conv" and ".cv1/conv" in node.name:
            tensor = next(t for t in model.graph.initializer if t.name == node.input[1])
            half = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(half[:, : half.shape[1] // 2], tensor.name))
            node.attribute.append(helper.make_attribute("group", 2))


def to_a_size(model: onnx.ModelProto) -> None:
    shapes = {v.name: v for v in onnx.shape_inference.infer_shapes(model).graph.value_info}
    for node in model.graph.node:
        if node.op_type == "Resize":
            dims = shapes[node.output[0]].type.tensor_type.shape.dim
            sizes = np.array([dim.dim_value for dim in dims])
            model.graph.initializer.append(numpy_helper.from_array(sizes, f"{node.name}.sizes"))
            node.input[:] = [node.input[0], "", "", f"{node.name}.sizes"]


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (without_biases, {"distribution": 1, "boxes": 0, "halves": 0, "upsampling": 2}),
        (seen_outside, USUAL),
        (in_groups, {"distribution": 0, "boxes": 0, "halves": 8, "upsampling": 2}),
        (to_a_size, {"distribution": 0, "boxes": 0, "halves": 0, "upsampling": 2}),
    ],
)
def test_what_is_otherwise_everywhere_is_left_everywhere(
    change: Callable[[onnx.ModelProto], None], left: dict[str, int]
) -> None:
    model = specimen(HW)
    change(model)
    assert same_or_untouched(model) == left
