"""Step ``costs``: what each layer's channels cost on a host, in microseconds.

Every convolution that pruning can narrow is timed alone, with its activation, at a grid of input
and output widths, and so are the products of attention; between them the time is interpolated. A
time is that of kernels, by onnxruntime's profile: reordering activations between its neighbours is
no part of it.
"""

from __future__ import annotations

import itertools
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter

from prunebench.common.files import write_atomically
from prunebench.common.records import FileRef, Record
from prunebench.config.sections import CoreClass
from prunebench.measuring.jobs import kernel_microseconds
from prunebench.measuring.remote.there import There
from prunebench.measuring.session import SessionSettings
from prunebench.steps.events import Emit, Progress, Stage

if TYPE_CHECKING:
    from prunebench.variants.pruning.paths import Bundle
    from prunebench.variants.pruning.shapes import Kept, Layer, Products

GRID = 4  # widths a layer is timed at, on each side: the narrowest, the widest and between

OPSET, IR_VERSION = 17, 9

ATTENTION = "Attention"

Timed = Callable[[Sequence[tuple[bytes, int]]], Sequence[Sequence[float]]]
"""Gives the microseconds of each layer of some graphs, which come with how many they hold."""


class Request(Record):
    """Input of the step: a checkpoint (absolute path) and modules that keep their widths.

    Attributes:
        block: Widths are multiples of it.
        imgsz: (height, width) of the letterbox in pixels.
        cores: What it is timed on, with ``threads`` (``intra_op_num_threads``).
        host: Digest of the host's fingerprint: another host's table is another one.
        there: The device that is this host; ``None``: it is timed here.
    """

    checkpoint: str
    ignore: tuple[str, ...]
    block: int
    imgsz: tuple[int, int]
    threads: int
    cores: CoreClass = "all"
    session: SessionSettings
    host: str
    there: There | None = None


class LayerCost(Record):
    """Microseconds of one layer at (input, output) widths, both rising."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    microseconds: tuple[tuple[float, ...], ...]


TABLE = TypeAdapter(dict[str, LayerCost])


class Costs(Record):
    """Result of the step: ``table`` holds a ``LayerCost`` for each layer's name."""

    table: FileRef


def run(request: Request, workdir: Path, emit: Emit) -> Costs:
    """Time every layer that pruning can narrow."""
    from prunebench.measuring.host.lock import timing_on_host, working_on_host
    from prunebench.variants.checkpoint import load_checkpoint
    from prunebench.variants.graph.groups import trace
    from prunebench.variants.graph.surgery import split_c2f
    from prunebench.variants.pruning.paths import bundles_of
    from prunebench.variants.pruning.shapes import Products, shapes_of

    def tell(sentence: str) -> None:
        emit(Stage(what=sentence))

    with working_on_host(tell):
        network = load_checkpoint(Path(request.checkpoint))
        split_c2f(network)
        graph = trace(network, request.ignore)
        shapes = shapes_of(graph, request.imgsz)
        bundles = bundles_of(graph.groups, request.block)
        grids = {
            layer.name: (layer, *grid_of(layer, bundles))
            for layer in shapes.parts
            if (layer.inputs.groups or layer.outputs.groups)
            and (isinstance(layer, Products) or layer.swept[0])
        }
    emit(Stage(what=f"timing {len(grids)} layers alone"))
    if request.there is not None:
        from prunebench.measuring.remote.asking import device_at

        settings = {**asdict(request.session), "cores": (request.cores,)}
        with device_at(request.there, settings, tell) as device:
            table = time_layers(grids, lambda graphs: device.layers(graphs, request.threads))
    else:
        with timing_on_host(request.cores, "the costs of each layer", tell):
            table = time_layers(grids, lambda graphs: _time_here(graphs, request, emit))
    target = workdir / "costs.json"
    write_atomically(target, TABLE.dump_json(table))
    return Costs(table=FileRef.of(target, workdir))


def read_costs(path: Path) -> dict[str, LayerCost]:
    """The table that the step wrote."""
    return TABLE.validate_json(path.read_bytes())


def grid_of(layer: Layer | Products, bundles: Sequence[Bundle]) -> tuple[list[int], list[int]]:
    """Input and output widths to time a layer at."""
    stops = {root: (b.width, *b.stops) for b in bundles for root in b.roots}

    def widths(side: Any) -> list[int]:
        most = side.at({root: max(stops[root]) for root in side.groups})
        least = side.at({root: min(stops[root]) for root in side.groups})
        falls = (a - b for root in side.groups for a, b in itertools.pairwise(stops[root]))
        grain = min(falls, default=1)
        between = np.linspace(least, most, GRID)
        aligned = {least + round((value - least) / grain) * grain for value in between}
        return sorted({int(min(most, max(least, value))) for value in aligned})

    outputs = widths(layer.outputs)
    return ([1] if layer.depthwise else widths(layer.inputs)), outputs


def time_layers(
    grids: Mapping[str, tuple[Layer | Products, list[int], list[int]]], timed: Timed
) -> dict[str, LayerCost]:
    """Time every layer at its grid; one graph holds all layers at one place of their grids."""
    times = {name: np.zeros((len(ins), len(outs))) for name, (_, ins, outs) in grids.items()}
    wanted = {}
    for row, column in itertools.product(range(GRID), range(GRID)):
        # Two layers of the same geometry and widths are one measurement.
        alike: dict[tuple[Any, ...], list[str]] = defaultdict(list)
        for name, (layer, inputs, outputs) in grids.items():
            if row < len(inputs) and column < len(outputs):
                alike[_geometry(layer, inputs[row], outputs[column])].append(name)
        if alike:
            wanted[row, column] = alike
    graphs = [(_graph(list(alike)), len(alike)) for alike in wanted.values()]
    for place, found in zip(wanted, timed(graphs), strict=True):
        for names, microseconds in zip(wanted[place].values(), found, strict=True):
            for name in names:
                times[name][place] = microseconds
    return {
        name: LayerCost(
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            microseconds=tuple(tuple(map(float, row)) for row in times[name]),
        )
        for name, (_, inputs, outputs) in grids.items()
    }


def _time_here(
    graphs: Sequence[tuple[bytes, int]], request: Request, emit: Emit
) -> list[list[float]]:
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for done, (graph, layers) in enumerate(graphs, start=1):
            prefix = Path(folder) / f"graph-{done}"
            timed = kernel_microseconds(graph, layers, request.session, request.threads, prefix)
            found.append(timed)
            emit(Progress(done=done, total=len(graphs), unit="grid point"))
    return found


def _geometry(layer: Layer | Products, inputs: int, outputs: int) -> tuple[Any, ...]:
    from prunebench.variants.pruning.shapes import Products

    if isinstance(layer, Products):
        heads = outputs // layer.head
        return ATTENTION, (layer.areas, heads), layer.pixels, layer.keys, layer.head
    kind = "ConvTranspose" if layer.transposed else "Conv"
    groups = outputs if layer.depthwise else layer.groups
    activated = layer.name.endswith(".conv")
    return (kind, layer.kernel, layer.stride, groups, layer.swept, activated, inputs, outputs)


def _graph(geometries: Sequence[tuple[Any, ...]]) -> bytes:
    """Unconnected convolutions, each followed by SiLU where its layer has it, and attentions."""
    from onnx import TensorProto, helper, numpy_helper

    # What repeats is packed well on its way to a device, and takes as long as what does not.
    pattern = np.random.default_rng(0).standard_normal(4096, dtype=np.float32) * np.float32(0.05)
    nodes, inputs, outputs, weights = [], [], [], []
    for index, geometry in enumerate(geometries):
        if geometry[0] == ATTENTION:
            _, heads, pixels, keys, head = geometry
            names = [f"g{index}.{part}" for part in ("q", "k", "v", "pairs", "weights", "out")]
            sides = (pixels, keys), (keys, pixels), (pixels, head)
            inputs += [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, [*heads, *side])
                for name, side in zip(names, sides, strict=False)
            ]
            q, k, v, pairs, weighted, out = names
            nodes.append(helper.make_node("MatMul", [q, k], [pairs], name=pairs))
            nodes.append(helper.make_node("Softmax", [pairs], [weighted], name=weighted))
            nodes.append(helper.make_node("MatMul", [weighted, v], [out], name=out))
            outputs.append(helper.make_tensor_value_info(out, TensorProto.FLOAT, None))
            continue
        kind, kernel, stride, groups, swept, activated, ins, outs = geometry
        given, weight, conv, gate, out = (
            f"g{index}.{part}" for part in ("in", "weight", "conv", "gate", "out")
        )
        transposed, depthwise = kind == "ConvTranspose", groups == outs and groups > 1
        per_group = ins if groups == 1 else max(1, ins // groups)
        shape = (ins, outs, *kernel) if transposed else (outs, per_group, *kernel)
        values = np.resize(pattern, shape)
        weights.append(numpy_helper.from_array(values, weight))
        pads = [0] * 4 if transposed else [kernel[0] // 2, kernel[1] // 2] * 2
        settings = {"kernel_shape": kernel, "strides": [stride] * 2, "pads": pads, "group": groups}
        nodes.append(helper.make_node(kind, [given, weight], [conv], name=conv, **settings))
        if activated:
            nodes.append(helper.make_node("Sigmoid", [conv], [gate], name=gate))
            nodes.append(helper.make_node("Mul", [conv, gate], [out], name=out))
        image = [1, outs if depthwise else ins, *(s * (1 if transposed else stride) for s in swept)]
        inputs.append(helper.make_tensor_value_info(given, TensorProto.FLOAT, image))
        result = out if activated else conv
        outputs.append(helper.make_tensor_value_info(result, TensorProto.FLOAT, None))
    model = helper.make_model(
        helper.make_graph(nodes, "layers", inputs, outputs, weights),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    return bytes(model.SerializeToString())


class CostModel:
    """Time of any allocation, as the sum of its layers' times in ``table``.

    A layer without any costs nothing, whatever the allocation, because pruning cannot change it.
    """

    def __init__(self, layers: Sequence[Layer | Products], table: Mapping[str, LayerCost]) -> None:
        from scipy.interpolate import RegularGridInterpolator

        self._layers = [layer for layer in layers if layer.name in table]
        self._known: dict[tuple[str, int, int], float] = {}
        self._surfaces: dict[str, Any] = {}
        self._of_root: dict[str, list[Layer | Products]] = defaultdict(list)
        for layer in self._layers:
            cost = table[layer.name]
            axes, values = [], np.array(cost.microseconds)
            for axis, widths in enumerate((cost.inputs, cost.outputs)):
                if len(widths) == 1:
                    # A single width has no slope: the same value at another place.
                    widths = (widths[0], widths[0] + 1)
                    values = np.repeat(values, 2, axis=axis)
                axes.append(np.array(widths, dtype=float))
            self._surfaces[layer.name] = RegularGridInterpolator(
                axes, values, bounds_error=False, fill_value=None
            )
            for root in {*layer.inputs.groups, *layer.outputs.groups}:
                self._of_root[root].append(layer)

    def microseconds(self, kept: Kept) -> float:
        """Time of every layer together."""
        return sum(self._cost(layer, kept) for layer in self._layers)

    def saved(self, before: Kept, after: Kept, roots: Sequence[str]) -> float:
        """Microseconds that narrowing ``roots`` saves."""
        touched = {layer.name: layer for root in roots for layer in self._of_root[root]}
        return sum(self._cost(x, before) - self._cost(x, after) for x in touched.values())

    def _cost(self, layer: Layer | Products, kept: Kept) -> float:
        inputs = 1 if layer.depthwise else layer.inputs.at(kept)
        place = (layer.name, inputs, layer.outputs.at(kept))
        if place not in self._known:
            self._known[place] = float(np.squeeze(self._surfaces[layer.name](place[1:])))
        return self._known[place]
