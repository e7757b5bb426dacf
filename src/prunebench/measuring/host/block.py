"""Step ``block``: the block of channels that onnxruntime's kernels work in on this host, measured.

Two convolutions in a row are timed at 33 to 48 channels. Where the step from a width to the next
multiple of a block costs less than half of the arithmetic that it adds, the channels between are
padding and the block is at least that wide; where it costs more, every such step saves time.
Networks agree: pruned to equally many parameters in multiples of 4, 8 and 16, those of the block
that this finds are the fastest, in float and in INT8 (``benchmarks/alignment.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from prunebench.common.records import Record
from prunebench.config.sections import CoreClass, LatencyConfig
from prunebench.measuring.host.block_timing import block_of, timed_rows
from prunebench.measuring.host.fingerprint import fingerprint_for
from prunebench.measuring.host.lock import timing_on_host
from prunebench.measuring.host.remembered import measured_once
from prunebench.measuring.session import SessionSettings
from prunebench.steps.events import Emit, Stage, Waiting

WIDTHS = tuple(range(33, 49))
PIXELS = (16, 28)  # (height, width) that the kernels are applied at.

OPSET, IR_VERSION = 17, 9
Numbers = Literal["float", "int8"]


class Request(Record):
    """Input of the step: what the convolutions compute with, the session's options, the cores."""

    numbers: Numbers
    session: SessionSettings
    cores: CoreClass = "all"


class Block(Record):
    """What was measured and what follows from it.

    Attributes:
        microseconds: Shortest turn of each width, per inference.
        padded: Width to the channels it is run with, of those in the blocked layout.
        turns: How often each width was timed.
        settled: Whether both halves of the turns, and the layout where there is one, say the same.
        there: The device that it is of; ``None``: this host.
    """

    numbers: Numbers
    microseconds: dict[int, float]
    padded: dict[int, int]
    turns: int
    settled: bool
    there: str | None = None

    @property
    def channels(self) -> int:
        """Channels in a block; 1 where every one that is saved saves time."""
        return block_of(self.microseconds)


def measure_block(config: LatencyConfig, numbers: Numbers = "float") -> Block:
    """The block of this host with the session options of ``config``."""
    request = block_request(config, numbers)
    host = fingerprint_for(config)
    return measured_once("block", request, host, Block, lambda block: block.settled)


def block_request(config: LatencyConfig, numbers: Numbers) -> Request:
    """What is asked of the step."""
    session = SessionSettings.of(config)
    return Request(numbers=numbers, session=session, cores=config.cores[0])


def run(request: Request, workdir: Path, emit: Emit) -> Block:
    """Time a row of convolutions at every width, until two halves of the turns agree."""
    emit(Stage(what="timing convolutions for the block of the kernels"))
    rows = rows_of_convolutions(request.numbers)
    with timing_on_host(request.cores, "the block", lambda said: emit(Waiting(what=said))):
        return Block(numbers=request.numbers, **timed_rows(rows, request.session, workdir))


def rows_of_convolutions(numbers: Numbers) -> dict[int, bytes]:
    """A row of every width that is timed."""
    return {width: row_of_convolutions(width, numbers) for width in WIDTHS}


def row_of_convolutions(
    width: int,
    numbers: Numbers,
    *,
    signed: bool = False,
    inputs: int | None = None,
    float_first: bool = False,
) -> bytes:
    """Two 3x3 convolutions of ``width`` input and output channels, as an ONNX file.

    In INT8 as the step ``quantize`` writes them, with a scale per channel: the activations are
    unsigned or ``signed``, the first convolution has ``inputs`` channels, and may be left in float.
    """
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    constants: dict[str, Any] = {}
    nodes: list[Any] = []

    def add(operator: str, given: Sequence[str], result: str, **settings: Any) -> str:
        nodes.append(helper.make_node(operator, given, [result], name=result, **settings))
        return result

    def on_integers(tensor: str) -> str:
        quantized = add("QuantizeLinear", [tensor, "scale", "zero"], f"{tensor}.q")
        return add("DequantizeLinear", [quantized, "scale", "zero"], f"{tensor}.dq")

    integers = numbers == "int8"
    if integers:
        constants["scale"] = np.float32(0.05)
        constants["zero"] = np.int8(0) if signed else np.uint8(128)
        constants["scales"] = np.full(width, 0.01, np.float32)
        constants["zeros"] = np.zeros(width, np.int8)
    image = inputs or width
    last = on_integers("image") if integers and not float_first else "image"
    for index in range(2):
        kernel = rng.integers(-127, 128, (width, width if index else image, 3, 3))
        weight, in_float = f"weight{index}", not integers or (float_first and index == 0)
        constants[weight] = kernel.astype(np.float32) / 1e3 if in_float else kernel.astype(np.int8)
        if not in_float:
            weight = add("DequantizeLinear", [weight, "scales", "zeros"], f"{weight}.dq", axis=0)
        settings = {"kernel_shape": [3, 3], "pads": [1] * 4}
        last = add("Conv", [last, weight], f"conv{index}", **settings)
        last = on_integers(last) if integers else last
    graph = helper.make_graph(
        nodes,
        "row",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, image, *PIXELS])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, [1, width, *PIXELS])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    return bytes(model.SerializeToString())
