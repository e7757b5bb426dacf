"""An ONNX graph that passes edit: nodes by what they make and take, constants, shapes."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prunebench.measuring.onnx_graph import attributes

if TYPE_CHECKING:
    import onnx


class Unknown(Exception):
    """Something in a graph is not as a pass knows it, so that it is left as it is."""


class Graph:
    """A copy of a model with static shapes; ``finished`` gives the edited one.

    Attributes:
        nodes: In no order that could be run.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        import onnx

        self._model = onnx.shape_inference.infer_shapes(model)
        graph = self._model.graph
        self.nodes = list(graph.node)
        self._outputs = [value.name for value in graph.output]
        self._stored = {tensor.name: tensor for tensor in graph.initializer}
        self._shapes = {
            value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
            for value in (*graph.input, *graph.value_info, *graph.output)
        } | {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}

    @contextlib.contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """Take back what was edited in the block where something is missing or of another shape.

        Raises:
            Unknown: It is.
        """
        before = copy.deepcopy(self.nodes), dict(self._stored), dict(self._shapes)
        try:
            yield
        except (Unknown, LookupError, ValueError) as error:
            self.nodes, self._stored, self._shapes = before
            raise Unknown from error

    def shape(self, name: str) -> tuple[int, ...]:
        """Dimensions of a tensor; Unknown where one of them is."""
        shape = self._shapes.get(name, ())
        if not all(shape) or not shape:
            raise Unknown
        return shape

    def constant(self, name: str) -> NDArray[Any]:
        """A stored tensor; Unknown where it is computed."""
        from onnx import numpy_helper

        if name not in self._stored:
            raise Unknown
        return numpy_helper.to_array(self._stored[name])

    def maker(self, name: str, kind: str) -> onnx.NodeProto | None:
        """The node that makes a tensor, if it is of this kind."""
        return next((n for n in self.nodes if name in n.output and n.op_type == kind), None)

    def needed(self, name: str, kind: str) -> onnx.NodeProto:
        """As ``maker``; Unknown where another kind makes it."""
        if (node := self.maker(name, kind)) is None:
            raise Unknown
        return node

    def users(self, name: str) -> list[onnx.NodeProto]:
        """The nodes that take a tensor; none of an output of the model, which is taken outside."""
        return [] if name in self._outputs else [n for n in self.nodes if name in n.input]

    def user(self, name: str, kind: str) -> onnx.NodeProto | None:
        """The node that alone takes a tensor, if it is of this kind."""
        users = self.users(name)
        return users[0] if len(users) == 1 and users[0].op_type == kind else None

    def needed_user(self, name: str, kind: str) -> onnx.NodeProto:
        """As ``user``; Unknown where another kind takes it or several nodes do."""
        if (node := self.user(name, kind)) is None:
            raise Unknown
        return node

    def store(self, name: str, value: NDArray[Any]) -> str:
        """Keep a constant; its name."""
        from onnx import numpy_helper

        self._stored[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        self._shapes[name] = value.shape
        return name

    def add(self, kind: str, name: str, inputs: Iterable[str], **values: Any) -> str:
        """Add a node with these attributes; the name of its one output."""
        from onnx import helper

        made = f"{name}_output_0"
        self.nodes.append(helper.make_node(kind, list(inputs), [made], name=name, **values))
        return made

    def again(self, node: onnx.NodeProto, name: str, inputs: Iterable[str]) -> str:
        """Add a node like another one, of other inputs; the name of its output."""
        return self.add(node.op_type, name, inputs, **attributes(node))

    def define(self, function: onnx.FunctionProto) -> None:
        """Let the model use an operator that it defines itself for who does not have it."""
        from onnx import helper

        self._model.opset_import.append(helper.make_opsetid(function.domain, 1))
        self._model.functions.append(function)

    def replace(self, old: str, new: str) -> None:
        """Let every node that takes the tensor ``old`` take ``new``, which is of its shape."""
        self._shapes[new] = self._shapes.get(old, ())
        for node in self.nodes:
            node.input[:] = [new if name == old else name for name in node.input]

    def finished(self) -> onnx.ModelProto:
        """The model, of the nodes alone that its outputs need, in an order that can be run."""
        import onnx

        graph = self._model.graph
        nodes = self._behind(self._outputs, {value.name for value in graph.input})
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(nodes)
        taken = _taken_by(nodes)
        graph.initializer.extend(self._stored[name] for name in self._stored if name in taken)
        onnx.checker.check_model(self._model)
        return self._model

    def _behind(self, names: Iterable[str], given: set[str]) -> list[onnx.NodeProto]:
        """The nodes that make tensors of these given ones, each behind those it needs."""
        makers = {name: node for node in self.nodes for name in node.output}
        known = {*given, *self._stored, ""}
        ordered: list[onnx.NodeProto] = []
        waiting = list(names)
        while waiting:
            name = waiting[-1]
            if name in known:
                waiting.pop()
            elif name not in makers:
                raise Unknown
            elif missing := [taken for taken in makers[name].input if taken not in known]:
                waiting += missing
            else:
                ordered.append(makers[name])
                known.update(makers[name].output)
        return ordered


def _taken_by(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    return {name for node in nodes for name in node.input}
