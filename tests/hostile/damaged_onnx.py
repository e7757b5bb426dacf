"""An exported file, damaged as bytes, as a graph, or in what it says of itself."""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import onnx
from quantize_kit import write_detector

from tests.hostile.damage import damaged, mutated, odd_value

COUNTED = {"verdict": "unpruned", "grounds": {"kind": "stock", "classes": 7}, "kept_share": 1.0}
PROVENANCE = {
    **COUNTED,
    "stock": None,
    "parameters": 3000,
    "macs": 10**6,
    "imgsz": [64, 96],
    "baseline_parameters": 6000,
    "baseline_macs": 4 * 10**6,
    "baseline_imgsz": [64, 96],
    "strategy": "preserving",
    "round": 1,
}
INT8 = {
    "layers": 10,
    "quantized": 8,
    "left_float": {"a": "b"},
    "map50_float": 0.8,
    "map50": 0.79,
    "activations": "u8",
    "calibration_images": 128,
}
OURS: dict[str, dict[str, Any]] = {"prunebench": PROVENANCE, "prunebench_int8": INT8}


@functools.cache
def base() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return write_detector(Path(folder) / "model.onnx").read_bytes()


def exported(rng: Random, folder: Path) -> list[str]:
    """An exported file and ``audit``."""
    model = onnx.load_from_string(base())
    for _ in range(rng.randrange(4)):
        rng.choice(CHANGES)(rng, model)
    content = model.SerializeToString()
    path = folder / rng.choice(["model.onnx", "model.onnx", "모델 1.onnx", "it's.onnx"])
    path.write_bytes(damaged(rng, content) if rng.random() < 0.2 else content)
    return ["audit", *(["--json"] if rng.random() < 0.3 else []), str(path)]


def of_ours(rng: Random, model: Any) -> None:
    """An entry that prunebench writes, as somebody else might."""
    key = rng.choice(sorted(OURS))
    value = mutated(rng, OURS[key]) if rng.random() < 0.8 else OURS[key]
    text = json.dumps(value, default=str)
    if rng.random() < 0.2:
        text = damaged(rng, text.encode()).decode("latin-1")
    set_entry(model, key, text)


def of_ultralytics(rng: Random, model: Any) -> None:
    entry = rng.choice(model.metadata_props)
    if rng.random() < 0.2:
        model.metadata_props.remove(entry)
        return
    names = ["{0: 1}", "{'a': 'b'}", "['a', 'b']", "{0: 'a', 5: 'b'}", "{}", "{" * 200, "a" * 9]
    entry.value = rng.choice([str(odd_value(rng)), rng.choice(names)]).replace("\0", "")


def set_entry(model: Any, key: str, value: str) -> None:
    for entry in [entry for entry in model.metadata_props if entry.key == key]:
        model.metadata_props.remove(entry)
    model.metadata_props.add(key=key, value=value)


def of_a_node(rng: Random, model: Any) -> None:
    if not model.graph.node:
        return
    node = rng.choice(model.graph.node)
    kind = rng.randrange(7)
    if kind == 0:
        model.graph.node.remove(node)
    elif kind == 1:
        node.op_type = rng.choice(["Conv", "MatMul", "Sigmoid", "Nothing", "ConvTranspose", "If"])
    elif kind == 2 and node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(["", "nowhere", "images"])
    elif kind == 3 and node.input:
        del node.input[rng.randrange(len(node.input))]
    elif kind == 4:
        node.domain = rng.choice(["com.microsoft", "nobody"])
    elif kind == 5 and node.attribute:
        node.attribute.remove(rng.choice(node.attribute))
    else:
        node.name = rng.choice(["", "é", "x" * 3000])


def of_a_tensor(rng: Random, model: Any) -> None:
    if not model.graph.initializer:
        return
    tensor = rng.choice(model.graph.initializer)
    kind = rng.randrange(6)
    if kind == 0:
        model.graph.initializer.remove(tensor)
    elif kind == 1 and tensor.dims:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice([0, 1, -1, 2**31])
    elif kind == 2 and tensor.dims:
        del tensor.dims[0]
    elif kind == 3:
        tensor.raw_data = tensor.raw_data[: rng.randrange(9)]
    elif kind == 4:
        tensor.data_type = rng.choice([0, 2, 7, 10, 99])
    else:
        tensor.name = rng.choice(["", "images", "a.conv.weight"])


def of_the_shape(rng: Random, model: Any) -> None:
    values = [*model.graph.input, *model.graph.output]
    if not values:
        return
    value = rng.choice(values)
    dims = value.type.tensor_type.shape.dim
    kind = rng.randrange(6)
    if kind == 0:
        value.type.Clear()
    elif kind == 1 and dims:
        dims[rng.randrange(len(dims))].dim_param = "height"
    elif kind == 2 and dims:
        dims[rng.randrange(len(dims))].dim_value = rng.choice([0, -1, 1, 10**9])
    elif kind == 3 and dims:
        del dims[rng.randrange(len(dims))]
    elif kind == 4:
        dims.add(dim_value=3)
    else:
        holder = rng.choice([model.graph.input, model.graph.output])
        if holder:
            del holder[0]


def of_the_whole(rng: Random, model: Any) -> None:
    kind = rng.randrange(4)
    if kind == 0:
        del model.opset_import[:]
    elif kind == 1 and model.opset_import:
        model.opset_import[0].version = rng.choice([-1, 0, 1, 10**6])
    elif kind == 2:
        model.ir_version = rng.choice([0, 1, 10**6])
    else:
        model.ClearField("graph")


CHANGES = (
    *(of_ours, of_ours, of_ultralytics, of_ultralytics),
    *(of_a_node, of_a_tensor, of_the_shape, of_the_whole),
)
