"""Exported files that say of themselves what does not hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
from hostile_kit import Case
from quantize_kit import write_detector

Change = Callable[[Any], object]
AUDIT = "audit {inputs}/model.onnx"


def made(change: Change) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        model = onnx.load(write_detector(folder / "model.onnx"))
        change(model)
        (folder / "model.onnx").write_bytes(model.SerializeToString())

    return make


def says(key: str, value: str) -> Change:
    return lambda model: onnx.helper.set_model_props(
        model, {entry.key: entry.value for entry in model.metadata_props} | {key: value}
    )


def of_the_input(count: int) -> Change:
    """An input of another number of dimensions."""

    def change(model: Any) -> None:
        shape = model.graph.input[0].type.tensor_type.shape
        while len(shape.dim) > count:
            del shape.dim[-1]
        while len(shape.dim) < count:
            shape.dim.add(dim_value=3)

    return change


def without_a_node(model: Any) -> None:
    """Shapes behind it cannot be inferred."""
    silu = next(node for node in model.graph.node if node.op_type == "Sigmoid")
    silu.op_type, silu.domain = "Nothing", "nobody"
    model.opset_import.add(domain="nobody", version=1)


NAMES = "its class names (metadata names) are not numbered from 0 on"
OTHER = "its graph or its metadata is not as Ultralytics exports it"

CASES = (
    *(
        Case(f"names that are {text}", made(says("names", text)), AUDIT, 2, NAMES)
        for text in ("a", "['a']", "{0: 'a', 2: 'b'}", "{'a': 0}", "{}", "{" * 200)
    ),
    Case("an input of two dimensions", made(of_the_input(2)), AUDIT, 2, OTHER),
    Case("an operation nobody knows", made(without_a_node), AUDIT, 2, OTHER),
    Case("an entry of ours that is none", made(says("prunebench", "7")), AUDIT, 2, "prunebench"),
)
