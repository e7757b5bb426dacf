"""A network that rounds as its INT8 file will: the grids, the layers, and nothing left behind."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnxruntime.quantization.quant_utils import compute_scale_zp
from pruning_kit import HW, predictions, tiny_network

from prunebench.config.sections import LatencyConfig
from prunebench.measuring.onnx_graph import convolutions, module_of
from prunebench.measuring.session import SessionSettings
from prunebench.variants.checkpoint import save_checkpoint
from prunebench.variants.export import export_onnx
from prunebench.variants.int8.quantizer import Quantizer
from prunebench.variants.retraining.activation import replace_activations
from prunebench.variants.retraining.integers import (
    on_integers,
    round_no_more,
    round_to_integers,
    rounded,
    rounded_weight,
)

VALUES = st.floats(-64, 64, width=32)


def on_grid(x: np.ndarray, found: np.ndarray, low: float, high: float, levels: int) -> None:
    """``found`` are the nearest points of the grid that onnxruntime makes for this range."""
    ends = (np.float32(low), np.float32(high))
    zero, scale = compute_scale_zp(*ends, *map(np.array, (0, levels)))
    steps = found / scale
    assert np.abs(steps - steps.round()).max() < 1e-2
    assert np.all((steps.round() + zero >= 0) & (steps.round() + zero <= levels))
    assert np.all(np.abs(found - x) <= scale * 0.501)


@given(hnp.arrays(np.float32, (1, 2, 3, 4), elements=VALUES))
def test_activations_lie_on_the_grid_of_their_range(x: np.ndarray) -> None:
    low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    found = rounded(torch.from_numpy(x)).numpy()
    if high - low > 1e-5:
        on_grid(x, found, low, high, 255)
    else:
        assert np.abs(found - x).max() < 1e-5


@given(hnp.arrays(np.float32, (3, 2, 1, 2), elements=VALUES))
def test_each_channel_of_a_weight_has_a_grid_of_its_own(weight: np.ndarray) -> None:
    found = rounded_weight(torch.from_numpy(weight)).numpy()
    for channel, made in zip(weight, found, strict=True):
        largest = float(np.abs(channel).max())
        if largest > 1e-5:
            on_grid(channel, made, -largest, largest, 254)


@pytest.mark.parametrize("name", ["yolov8n", "yolo26n", "yolov8n-seg"])
def test_it_rounds_what_goes_on_integers(name: str, tmp_path: Path) -> None:
    network = tiny_network(name)
    save_checkpoint(network, tmp_path / "source.pt", {})
    path = export_onnx(tmp_path / "source.pt", tmp_path, HW, opset=17)
    session = SessionSettings.of(LatencyConfig())
    (tmp_path / "work").mkdir()
    quantizer = Quantizer(path, HW, "u8", session, tmp_path / "work")
    exported = {
        module_of(node.input[1])
        for node in convolutions(quantizer.model)
        if node.name in quantizer.layers
    }
    found = {id(conv) for conv, *_ in on_integers(network)}
    names = {name for name, module in network.named_modules() if id(module) in found}
    # The one-to-one head of YOLO26 is trained and not exported.
    assert {name for name in names if ".one2one_" not in name} == exported


@pytest.mark.parametrize("replace", [lambda n: None, lambda n: replace_activations(n, "relu")])
def test_it_rounds_a_little_and_leaves_nothing_behind(
    replace: Callable[[torch.nn.Module], object],
) -> None:
    network = tiny_network("yolov8n")
    replace(network)
    (before,) = predictions(network)
    round_to_integers(network)
    round_to_integers(network)
    (moved,) = predictions(network)
    assert 0 < float((moved - before).abs().mean() / before.abs().mean()) < 0.05
    trained = copy.deepcopy(network).train()  # As Ultralytics copies it after a loss that is NaN.
    sum(trained(torch.rand(2, 3, *HW))[key].sum() for key in ("boxes", "scores")).backward()
    assert all(p.grad is not None for p in trained.parameters() if p.requires_grad)
    assert not any(p.grad is not None for p in network.parameters())
    for one in (network, trained):
        round_no_more(one)
        assert not any("forward" in module.__dict__ for module in one.modules())
    assert torch.equal(predictions(network)[0], before)
