"""Step ``diagnose``: why is a pruned network not faster?

By the graph onnxruntime optimised for this CPU (which convolutions run in the blocked layout NCHWc,
and the reordering of activations around it), and by its profile (milliseconds of every kernel). The
variant and its baseline run in turns, so that what disturbs one disturbs the other. The times
explain; they rank nothing.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from prunebench.common.cores import running_on
from prunebench.common.errors import CheckpointError
from prunebench.common.records import Record
from prunebench.config.sections import CoreClass
from prunebench.measuring.host.fingerprint import cpus_of
from prunebench.measuring.onnx_graph import module_of
from prunebench.measuring.session import SessionSettings, open_session, session_options
from prunebench.steps.events import Emit, Stage

if TYPE_CHECKING:
    import onnx

NCHWC = "com.microsoft.nchwc"
REORDERS = ("ReorderInput", "ReorderOutput")

FEWEST_RUNS = 3
MOST_RUNS = 15
TIMED_S = 0.6  # Profiled seconds of variant and baseline together, within those numbers of runs.
SLOW_PER_MAC = 1.25  # Times the baseline's milliseconds per MAC from which a reason is looked for.
OTHER_EXPLAIN = 0.5  # Part of the added ms per MAC that makes other operators the reason.


class Request(Record):
    """Input of the step: absolute paths of both files, each with one input of a fixed shape.

    ``threads`` is ``intra_op_num_threads`` on ``cores``, ``block`` see ``host/block.py``.
    """

    onnx: str
    baseline: str
    threads: int
    cores: CoreClass = "all"
    session: SessionSettings
    block: int


class NetworkProfile(Record):
    """How onnxruntime runs one file on this CPU.

    Of ``convolutions`` in the optimised graph ``blocked`` are in the layout NCHWc, ``quantized``
    on integers, which have none; ``reorders`` nodes only reorder activations around it.
    ``off_block`` has the width of every module whose output channels are no multiple of the block.
    ``weights`` are float32, ``mmacs`` million multiply-accumulates of the convolutions per image;
    ``kernel_ms`` sums each kernel's median, ``time_shares`` by operator, the largest first.
    """

    convolutions: int
    blocked: int
    quantized: int
    reorders: int
    off_block: dict[str, int]
    weights: int
    denormal_weights: int
    mmacs: float
    kernel_ms: float
    time_shares: dict[str, float]

    @property
    def ms_per_mmac(self) -> float:
        """Kernel milliseconds per million multiply-accumulates; NaN without convolutions."""
        return self.kernel_ms / self.mmacs if self.mmacs else math.nan

    @property
    def other_share(self) -> float:
        """Share of the time that is not spent in convolutions."""
        return 1 - sum(share for name, share in self.time_shares.items() if "Conv" in name)


class OffBlock(Record):
    """Convolutions that pruning left with widths that are no multiple of the kernels' block."""

    kind: Literal["off_block"] = "off_block"
    off: int
    convolutions: int
    block: int


class Denormals(Record):
    """Weights that are denormal numbers, which slow some processors."""

    kind: Literal["denormals"] = "denormals"
    denormal: int
    weights: int


class OtherOperators(Record):
    """Operators other than convolutions take much of the time: shares of it, 0..1."""

    kind: Literal["other_operators"] = "other_operators"
    share: float
    baseline_share: float


Cause = Annotated[OffBlock | Denormals | OtherOperators, Field(discriminator="kind")]
"""What is off with a variant that is slower than its arithmetic lets expect."""


class Diagnosis(Record):
    """A variant's profile against its baseline's, both with ``threads`` threads.

    ``times_baseline`` is the variant's milliseconds per MAC divided by the baseline's: above 1, it
    gains less time than it saves arithmetic. ``causes`` say what is off, likeliest first.
    """

    block: int
    threads: int
    variant: NetworkProfile
    baseline: NetworkProfile
    times_baseline: float
    causes: tuple[Cause, ...]


def run(request: Request, workdir: Path, emit: Emit) -> Diagnosis:
    """Profile a variant beside its baseline; CheckpointError where a file is not one it can run."""
    emit(Stage(what="profiling against the baseline"))
    with (
        running_on(cpus_of(request.cores)),
        tempfile.TemporaryDirectory(dir=workdir, prefix=".diagnose.") as folder,
    ):
        profiled = [
            _Profiled(Path(path), Path(folder) / name, request)
            for path, name in ((request.onnx, "variant"), (request.baseline, "baseline"))
        ]
        until = time.perf_counter() + TIMED_S
        for done in range(MOST_RUNS + 1):
            # The first run, which still allocates, is left out of the profile's figures.
            if done > FEWEST_RUNS and time.perf_counter() > until:
                break
            for one in profiled:
                one.infer()
        variant, baseline = (one.profile(request.block) for one in profiled)
    return Diagnosis(
        block=request.block,
        threads=request.threads,
        variant=variant,
        baseline=baseline,
        times_baseline=variant.ms_per_mmac / baseline.ms_per_mmac,
        causes=tuple(causes_of(variant, baseline, request.block)),
    )


def causes_of(variant: NetworkProfile, baseline: NetworkProfile, block: int) -> Iterator[Cause]:
    """What is off with ``variant``, the likeliest culprit first.

    Widths off the block in the baseline too, as of class scores, are no fault of the pruning.
    """
    off = variant.off_block.items() - baseline.off_block.items()
    if off:
        yield OffBlock(off=len(off), convolutions=variant.convolutions, block=block)
    if variant.denormal_weights:
        yield Denormals(denormal=variant.denormal_weights, weights=variant.weights)
    slow = variant.ms_per_mmac > SLOW_PER_MAC * baseline.ms_per_mmac
    added = variant.ms_per_mmac - baseline.ms_per_mmac
    others = variant.ms_per_mmac * variant.other_share - baseline.ms_per_mmac * baseline.other_share
    if slow and not off and others > OTHER_EXPLAIN * added:
        yield OtherOperators(share=variant.other_share, baseline_share=baseline.other_share)


class _Profiled:
    """A session that saves its optimised graph and writes a profile."""

    def __init__(self, path: Path, prefix: Path, request: Request) -> None:
        import onnx

        options = session_options(request.session, request.threads)
        self._optimised = prefix.with_suffix(".onnx")
        options.optimized_model_filepath = str(self._optimised)
        options.enable_profiling = True
        options.profile_file_prefix = str(prefix)
        try:
            self._model = onnx.load(path)
            self._session = open_session(str(path), options)
        except Exception as error:  # onnxruntime and protobuf have no public base class
            raise CheckpointError("onnxruntime cannot load the file", where=path) from error
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or not all(isinstance(size, int) for size in inputs[0].shape):
            shapes = ", ".join(str(item.shape) for item in inputs)
            raise CheckpointError(f"its inputs are {shapes}, not one of a fixed shape", where=path)
        pixels = np.random.default_rng(0).random(inputs[0].shape, dtype=np.float32)
        self._feed = {inputs[0].name: pixels}

    def infer(self) -> None:
        self._session.run(None, self._feed)

    def profile(self, block: int) -> NetworkProfile:
        """Everything the runs and the graph tell; the session ends its profile with this."""
        import onnx

        events = json.loads(Path(self._session.end_profiling()).read_text(encoding="utf-8"))
        kernels = _kernel_ms(events)
        total = sum(kernels.values())
        nodes = onnx.load(self._optimised).graph.node
        convolutions = [node for node in nodes if _is_convolution(node)]
        widths, macs = _convolutions(self._model)
        weights, denormal = _denormals(self._model)
        return NetworkProfile(
            convolutions=len(convolutions),
            blocked=sum(node.domain == NCHWC for node in convolutions),
            quantized=sum("QLinear" in n.op_type or "Integer" in n.op_type for n in convolutions),
            reorders=sum(node.op_type in REORDERS for node in nodes),
            off_block={name: width for name, width in widths.items() if width % block},
            weights=weights,
            denormal_weights=denormal,
            mmacs=macs / 1e6,
            kernel_ms=total,
            time_shares={
                name: round(kernels[name] / total, 4)
                for name in sorted(kernels, key=kernels.__getitem__, reverse=True)
            },
        )


def _kernel_ms(events: list[dict[str, Any]]) -> dict[str, float]:
    """Milliseconds per inference by operator: each node's median over all runs but the first."""
    durations: dict[tuple[str, str], list[int]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            node = event["args"]
            durations[node["op_name"], node["node_index"]].append(event["dur"])
    by_operator: dict[str, float] = defaultdict(float)
    for (operator, _), microseconds in durations.items():
        by_operator[operator] += float(np.median(microseconds[1:])) / 1000
    return by_operator


def _is_convolution(node: onnx.NodeProto) -> bool:
    return "Conv" in node.op_type and "Transpose" not in node.op_type


def _convolutions(model: onnx.ModelProto) -> tuple[dict[str, int], int]:
    """Output channels of each convolution, MACs of all; inferred, as INT8 stores no weight."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*inferred.value_info, *inferred.output)
    }
    shapes |= {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    widths: dict[str, int] = {}
    macs = 0
    for node in model.graph.node:
        if not _is_convolution(node):
            continue
        weight = node.input[3] if node.op_type == "QLinearConv" else node.input[1]
        output = shapes[node.output[0]]
        widths[module_of(weight)] = output[1]
        macs += math.prod(shapes[weight]) * math.prod(output[2:])
    return widths, macs


def _denormals(model: onnx.ModelProto) -> tuple[int, int]:
    """Numbers in the float32 tensors of a file, and how many of them are denormal."""
    from onnx import numpy_helper

    arrays = [np.abs(numpy_helper.to_array(tensor)) for tensor in model.graph.initializer]
    floats = [array for array in arrays if array.dtype == np.float32]
    smallest = np.finfo(np.float32).tiny
    denormal = sum(int(((array > 0) & (array < smallest)).sum()) for array in floats)
    return sum(array.size for array in floats), denormal
