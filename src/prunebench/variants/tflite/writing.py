"""A TFLite file being written: tensors known by their ONNX names, and operators between them.

TFLite's convolutions want channels last, ONNX's have them second. A tensor is known by its ONNX
shape here and stored in one or more orders of its axes; an operator takes the order it needs, or
one that is there. A TRANSPOSE is written only where an order is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray
from onnx import numpy_helper

from prunebench.common.errors import StepError

Order = tuple[int, ...]
"""Of a tensor's axes as stored: the ONNX axis of each."""

SCHEMA_VERSION, IDENTIFIER = 3, b"TFL3"


def unknown(what: str) -> StepError:
    """What is raised where LiteRT has no operator for something."""
    return StepError("convert", f"no operator of LiteRT is known for {what}")


def plain(shape: Sequence[int]) -> Order:
    """ONNX's own order."""
    return tuple(range(len(shape)))


class Writer:
    """One graph being written; ``nodes`` are its operators in ONNX."""

    def __init__(self, source: Path) -> None:
        graph = onnx.shape_inference.infer_shapes(onnx.load(source), data_prop=True).graph
        self.nodes = [node for node in graph.node if node.op_type != "Constant"]
        self._constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant":
                self._constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        self._shapes = {
            value.name: tuple(int(dim.dim_value) for dim in value.type.tensor_type.shape.dim)
            for value in (*graph.input, *graph.value_info, *graph.output)
        }
        self._results = [one.name for one in graph.output]
        self._stored: dict[str, dict[Order, int]] = {}
        self._buffers: list[Any] = [schema.BufferT()]
        self._codes: dict[str, int] = {}
        self._main = schema.SubGraphT()
        self._main.tensors, self._main.operators = [], []
        self._main.inputs = [
            self.give(one.name, plain(self.shape(one.name)), self._tensor(self.shape(one.name)))
            for one in graph.input
            if one.name not in self._constants
        ]

    def finished(self) -> bytes:
        """The file's content; inputs and outputs have the shapes and order of the source's."""
        self._main.outputs = [self.stored(name) for name in self._results]
        whole = schema.ModelT()
        whole.version, whole.subgraphs, whole.buffers = SCHEMA_VERSION, [self._main], self._buffers
        whole.operatorCodes = [schema.OperatorCodeT() for _ in self._codes]
        for code, name in zip(whole.operatorCodes, self._codes, strict=True):
            code.builtinCode, code.version = getattr(schema.BuiltinOperator, name), 1
            code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        builder = flatbuffers.Builder(0)
        builder.Finish(whole.Pack(builder), IDENTIFIER)
        return bytes(builder.Output())

    def _tensor(self, shape: Sequence[int], content: NDArray[Any] | None = None) -> int:
        tensor = schema.TensorT()
        tensor.shape, tensor.name = [*shape], f"tensor{len(self._main.tensors)}"
        if content is not None:
            if content.dtype == np.int32:
                tensor.type = schema.TensorType.INT32
            tensor.buffer, buffer = len(self._buffers), schema.BufferT()
            buffer.data = np.frombuffer(content.tobytes(), np.uint8)
            self._buffers.append(buffer)
        self._main.tensors.append(tensor)
        return len(self._main.tensors) - 1

    def numbers(self, values: Any) -> int:
        """A constant, in float32 or int32."""
        given = np.asarray(values)
        content = given.astype(np.float32 if given.dtype.kind == "f" else np.int32)
        return self._tensor(content.shape, content)

    def operator(
        self,
        name: str,
        inputs: Sequence[int],
        shape: Sequence[int],
        kind: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> int:
        """One more operator; its output, stored as ``shape``. ``kind``: the name of its options."""
        operator = schema.OperatorT()
        operator.opcodeIndex = self._codes.setdefault(name, len(self._codes))
        operator.inputs, operator.outputs = [*inputs], [self._tensor(shape)]
        if kind is not None:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            operator.builtinOptions = getattr(schema, f"{kind}T")()
            for field, value in (settings or {}).items():
                setattr(operator.builtinOptions, field, value)
        self._main.operators.append(operator)
        return int(operator.outputs[0])

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape in ONNX."""
        if name in self._constants:
            return tuple(self._constants[name].shape)
        shape = self._shapes.get(name)
        if shape is None or 0 in shape:
            raise StepError("convert", f"the shape of {name} is not known beforehand")
        return shape

    def is_constant(self, name: str) -> bool:
        """Whether a tensor is a part of the file."""
        return name in self._constants

    def constant(self, name: str) -> NDArray[Any]:
        """What a constant holds."""
        if name not in self._constants:
            raise unknown(f"{name} as a variable")
        return self._constants[name]

    def order(self, *names: str) -> Order:
        """The order in which the first of some tensors is there, where it fits all of them."""
        live = [name for name in names if name not in self._constants]
        most = max(len(self.shape(name)) for name in names)
        if {len(self.shape(name)) for name in live} != {most}:
            return tuple(range(most))
        return next(iter(self._stored[live[0]]))

    def orders(self, name: str) -> dict[Order, int]:
        """Every order that a tensor is there in."""
        return self._stored[name]

    def stored(self, name: str, order: Order | None = None) -> int:
        """A tensor in an order, ``None``: ONNX's; one of fewer axes than the order in its own."""
        shape = self.shape(name)
        if name in self._constants:
            content = self._constants[name]
            if content.ndim and order is not None:
                wide = (1,) * (len(order) - content.ndim) + content.shape
                content = content.reshape(wide).transpose(order)
            return self.numbers(content)
        if order is None or len(order) != len(shape):
            order = plain(shape)
        there = self._stored[name]
        if order not in there:
            known, index = next(iter(there.items()))
            moved = self.numbers([known.index(axis) for axis in order])
            sizes = [shape[axis] for axis in order]
            there[order] = self.operator("TRANSPOSE", [index, moved], sizes, "TransposeOptions")
        return there[order]

    def give(self, name: str, order: Order, index: int) -> int:
        """Say that a tensor is there in an order."""
        self._stored[name] = {order: index}
        return index

    def rename(self, name: str, orders: dict[Order, int]) -> None:
        """Say that a tensor is what is there already."""
        self._stored[name] = orders

    def make(
        self,
        name: str,
        operator: str,
        inputs: Sequence[int],
        order: Order,
        kind: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """Make a tensor by one operator, in an order."""
        shape = self.shape(name)
        sizes = [shape[axis] for axis in order]
        self.give(name, order, self.operator(operator, inputs, sizes, kind, settings))
