"""ONNX operators as a TFLite file has them, against onnxruntime."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from prunebench.common.errors import StepError
from prunebench.config.sections import LatencyConfig
from prunebench.measuring.runtimes.opening import opener
from prunebench.measuring.session import SessionSettings
from prunebench.variants.tflite.operators import reshaped, to_tflite

SESSION = SessionSettings.of(LatencyConfig())
SHAPE = (1, 6, 10, 13)
RANDOM = np.random.default_rng(0)


def node(kind: str, *inputs: str, outputs: tuple[str, ...] = ("y",), **settings: Any) -> Any:
    return helper.make_node(kind, ["x", *inputs], outputs, **settings)


def kernel(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32)


def write(path: Path, nodes: list[Any], constants: dict[str, Any], count: int = 1) -> Path:
    """A file of one input ``x`` and the outputs ``y`` (``y1`` ...), their shapes inferred."""
    names = ["y", *(f"y{n}" for n in range(1, count))]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(onnx.shape_inference.infer_shapes(model, data_prop=True), path)
    return path


def compared(path: Path) -> None:
    image = RANDOM.normal(size=SHAPE).astype(np.float32)
    written = path.with_suffix(".tflite")
    written.write_bytes(to_tflite(path))
    wanted = opener(None)(str(path), 1, SESSION, None)(image)
    found = opener("litert")(str(written), 1, SESSION, None)(image)
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


SAME = {"pads": [1, 1, 1, 1]}
WINDOWS = {
    "odd stride": (node("Conv", "w", "b", strides=[2, 2], **SAME), {"w": kernel(4, 6, 3, 3)}),
    "no padding": (node("Conv", "w", "b"), {"w": kernel(4, 6, 3, 3)}),
    "uneven": (node("Conv", "w", "b", pads=[0, 2, 1, 0]), {"w": kernel(4, 6, 3, 3)}),
    "dilated": (
        node("Conv", "w", "b", dilations=[2, 1], pads=[2, 1, 2, 1]),
        {"w": kernel(4, 6, 3, 3)},
    ),
    "grouped": (node("Conv", "w", "b", group=2, **SAME), {"w": kernel(4, 3, 3, 3)}),
    "depthwise": (node("Conv", "w", group=6, strides=[2, 1], **SAME), {"w": kernel(12, 1, 3, 3)}),
    "transposed": (node("ConvTranspose", "w", "b", strides=[2, 3]), {"w": kernel(6, 4, 2, 3)}),
    "max": (node("MaxPool", kernel_shape=[5, 5], pads=[2] * 4), {}),
    "max, shifted": (node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], **SAME), {}),
    "average": (node("AveragePool", kernel_shape=[3, 3], **SAME), {}),
    "average, counted": (node("AveragePool", kernel_shape=[3, 3], count_include_pad=1, **SAME), {}),
    "of all": (node("GlobalAveragePool"), {}),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_a_window_moves_as_in_the_onnx_file(name: str, tmp_path: Path) -> None:
    moved, constants = WINDOWS[name]
    compared(write(tmp_path / "model.onnx", [moved], {"b": kernel(4), **constants}))


def test_axes_are_followed_through_a_head(tmp_path: Path) -> None:
    """Branches, joins and reshapes of a YOLO's head and of its attention."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Sigmoid", ["c"], ["s"]),
        helper.make_node("Mul", ["c", "s"], ["m"]),
        helper.make_node("Split", ["m"], ["left", "right"], axis=1),
        helper.make_node("Add", ["left", "channels"], ["added"]),
        helper.make_node("Concat", ["added", "right", "left"], ["joined"], axis=1),
        helper.make_node("Resize", ["joined", "", "factors"], ["large"], mode="nearest",
                         coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
        helper.make_node("Reshape", ["large", "flat"], ["rows"]),
        helper.make_node("Slice", ["rows", "from", "to", "axis"], ["part"]),
        helper.make_node("Reshape", ["part", "sides"], ["four"]),
        helper.make_node("Transpose", ["four"], ["turned"], perm=[0, 2, 1, 3]),
        helper.make_node("Softmax", ["turned"], ["shares"], axis=1),
        helper.make_node("Conv", ["shares", "numbers"], ["distance"]),
        helper.make_node("Reshape", ["distance", "boxes"], ["y"]),
        helper.make_node("Transpose", ["rows"], ["columns"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["rows", "columns"], ["y1"]),
        helper.make_node("MatMul", ["columns", "matrix"], ["known"]),
        helper.make_node("Clip", ["known", "low", "high"], ["y2"]),
        helper.make_node("Flatten", ["joined"], ["vector"]),
        helper.make_node("Gemm", ["vector", "to_two", "two"], ["y3"], transB=1, alpha=0.5),
        helper.make_node("Sub", ["one", "s"], ["y4"]),
    ]  # fmt: skip
    constants = {
        "w": kernel(8, 6, 1, 1),
        "channels": kernel(4, 1, 1),
        "factors": np.float32([1, 1, 2, 2]),
        "flat": [1, 12, -1],
        **{"from": [-8], "to": [2**40], "axis": [1]},
        "sides": [1, 2, 4, 520],
        "numbers": kernel(1, 4, 1, 1),
        "boxes": [1, 2, 520],
        "matrix": kernel(12, 5),
        **{"low": np.float32(-0.5), "high": np.float32(0.5), "one": np.float32(1)},
        **{"to_two": kernel(2, 12 * 130) / 100, "two": kernel(2)},
    }
    compared(write(tmp_path / "model.onnx", nodes, constants, count=5))


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        ("ReduceMin", {"keepdims": 1}, "no operator of LiteRT is known for ReduceMin"),
        ("AveragePool", {"kernel_shape": [3, 3], "pads": [2, 2, 2, 2]}, "AveragePool with this"),
        ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}, "MaxPool with"),
    ],
)
def test_what_it_cannot_say_is_named(
    kind: str, settings: dict[str, Any], said: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "model.onnx", [node(kind, **settings)], {})
    with pytest.raises(StepError, match=said):
        to_tflite(path)


@given(st.data())
def test_a_reshape_that_keeps_an_order_moves_no_byte(data: st.DataObject) -> None:
    parts = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    before, after = (joined(parts, data) for _ in range(2))
    order = tuple(data.draw(st.permutations(range(len(before)))))
    kept = reshaped(order, before, after)
    values = np.arange(math.prod(parts))
    stored = values.reshape(before).transpose(order).ravel()
    if kept is not None:
        assert sorted(kept) == [*range(len(after))]
        np.testing.assert_array_equal(values.reshape(after).transpose(kept).ravel(), stored)
    else:
        assert order != tuple(range(len(before)))


def joined(parts: list[int], data: st.DataObject) -> tuple[int, ...]:
    """A shape of as many numbers as ``parts``, some neighbours joined into one axis."""
    cuts = sorted(data.draw(st.sets(st.integers(1, len(parts) - 1)))) if len(parts) > 1 else []
    ends = zip([0, *cuts], [*cuts, len(parts)], strict=True)
    return tuple(math.prod(parts[start:end]) for start, end in ends)
