"""The diagnosis of real files, run by onnxruntime in the step's own process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from prunebench.common.errors import CheckpointError
from prunebench.config.sections import LatencyConfig
from prunebench.measuring.profile import (
    Cause,
    Denormals,
    Diagnosis,
    NetworkProfile,
    OffBlock,
    OtherOperators,
    Request,
    causes_of,
    run,
)
from prunebench.measuring.session import SessionSettings
from prunebench.steps.child import run_child

HEIGHT, WIDTH = 32, 48
SESSION = SessionSettings.of(LatencyConfig())


def write_network(path: Path, widths: Sequence[int], denormals: int = 0) -> Path:
    """A chain of 3x3 convolutions with ReLU at one resolution."""
    rng = np.random.default_rng(0)
    nodes, weights, current = [], [], "images"
    for index, (width, channels) in enumerate(zip(widths, (3, *widths), strict=False)):
        kernel = rng.normal(0, 0.1, (width, channels, 3, 3)).astype(np.float32)
        if index == 0:
            kernel.flat[:denormals] = 1e-40
        name = f"model.{index}.conv"
        weights.append(numpy_helper.from_array(kernel, f"{name}.weight"))
        inputs = [current, f"{name}.weight"]
        nodes.append(
            helper.make_node("Conv", inputs, [name], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        )
        nodes.append(helper.make_node("Relu", [name], [f"r{index}"]))
        current = f"r{index}"
    shapes = ([1, 3, HEIGHT, WIDTH], [1, widths[-1], HEIGHT, WIDTH])
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in zip(("images", current), shapes, strict=True)
    ]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], initializer=weights)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def request(variant: Path, baseline: Path, block: int = 8) -> Request:
    return Request(
        onnx=str(variant), baseline=str(baseline), threads=1, session=SESSION, block=block
    )


def diagnose(tmp_path: Path, variant: Path, baseline: Path, block: int = 8) -> Diagnosis:
    return run(request(variant, baseline, block), tmp_path, lambda event: None)


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp("baseline") / "model.onnx", (32, 64, 64, 7))


def test_widths_off_the_block_leave_the_blocked_layout(baseline: Path, tmp_path: Path) -> None:
    pruned = write_network(tmp_path / "pruned.onnx", (29, 57, 58, 7))
    plain = run_child("diagnose", request(pruned, baseline), tmp_path / "work", threads=1)
    found = Diagnosis.model_validate(plain)
    # MLAS blocks a convolution only if its input channels are a multiple of 4, or the image.
    assert (found.variant.convolutions, found.variant.blocked) == (4, 1)
    assert (found.baseline.convolutions, found.baseline.blocked) == (4, 4)
    assert found.variant.off_block == {
        "model.0.conv": 29,
        "model.1.conv": 57,
        "model.2.conv": 58,
        "model.3.conv": 7,
    }
    # The last width is the number of classes: it was no choice of the pruning.
    assert found.causes == (OffBlock(off=3, convolutions=4, block=8),)
    assert [p.name for p in (tmp_path / "work").iterdir() if p.is_dir()] == []


def test_the_block_is_the_hosts(baseline: Path, tmp_path: Path) -> None:
    pruned = write_network(tmp_path / "pruned.onnx", (24, 56, 48, 7))
    assert diagnose(tmp_path, pruned, baseline, block=8).causes == ()
    wide = diagnose(tmp_path, pruned, baseline, block=16)
    assert wide.causes == (OffBlock(off=2, convolutions=4, block=16),)
    assert wide.variant.blocked == wide.variant.convolutions


def test_arithmetic_and_time_are_counted(baseline: Path, tmp_path: Path) -> None:
    found = diagnose(tmp_path, baseline, baseline)
    kernels = 3 * 32 + 32 * 64 + 64 * 64 + 64 * 7
    assert found.variant.mmacs == pytest.approx(9 * kernels * HEIGHT * WIDTH / 1e6)
    assert found.variant.weights == 9 * kernels
    assert sum(found.variant.time_shares.values()) == pytest.approx(1, abs=0.001)
    assert next(iter(found.variant.time_shares)) == "Conv"
    assert 0 <= found.variant.other_share < 0.5
    assert found.times_baseline == pytest.approx(
        found.variant.ms_per_mmac / found.baseline.ms_per_mmac
    )


def test_denormal_weights_are_counted(baseline: Path, tmp_path: Path) -> None:
    pruned = write_network(tmp_path / "pruned.onnx", (32, 64, 64, 7), denormals=5)
    found = diagnose(tmp_path, pruned, baseline)
    assert (found.variant.denormal_weights, found.baseline.denormal_weights) == (5, 0)
    assert found.causes == (Denormals(denormal=5, weights=60_192),)


def test_graph_optimisation_off_means_no_blocked_layout(baseline: Path, tmp_path: Path) -> None:
    basic = replace(SESSION, graph_level="basic")
    asked = request(baseline, baseline).model_copy(update={"session": basic})
    found = run(asked, tmp_path, lambda event: None)
    assert (found.variant.convolutions, found.variant.blocked, found.variant.reorders) == (4, 0, 0)


def test_a_file_that_cannot_be_loaded_is_named(baseline: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"broken\.onnx: onnxruntime cannot load the file"):
        diagnose(tmp_path, broken, baseline)


def profile(
    off: int = 0, convolutions: int = 63, ms: float = 10.0, conv: float = 0.8
) -> NetworkProfile:
    return NetworkProfile(
        convolutions=63,
        blocked=63,
        quantized=0,
        reorders=8,
        off_block={f"model.{index}.conv": 13 for index in range(off)},
        weights=1000,
        denormal_weights=0,
        mmacs=100.0,
        kernel_ms=ms,
        time_shares={"Conv": conv, "Softmax": 1 - conv},
    )


def test_causes_only_where_something_is_off() -> None:
    usual = profile()

    def causes(other: NetworkProfile) -> list[Cause]:
        return list(causes_of(other, usual, block=16))

    assert causes(profile()) == []
    assert causes(profile(off=61)) == [OffBlock(off=61, convolutions=63, block=16)]
    (cause,) = causes(profile(ms=14, conv=0.6))
    assert isinstance(cause, OtherOperators)
    assert cause.share == pytest.approx(0.4)
    assert cause.baseline_share == pytest.approx(0.2)
    # As slow, yet the other operators take no more of it than the baseline's.
    assert causes(profile(ms=14)) == []
    # A hundredth of the time is no reason, however much it has grown.
    assert list(causes_of(profile(ms=14, conv=0.98), profile(conv=0.99), block=16)) == []
