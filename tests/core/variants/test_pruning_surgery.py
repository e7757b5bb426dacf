"""Splitting and folding change nothing but the modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pruning_kit import NAMES, parameters, predictions, tiny_network
from torch import nn
from ultralytics.nn.modules.block import C2PSA, Attention, C2f

from prunebench.common.errors import StepError
from prunebench.variants.graph.attention import (
    OpaqueAttention,
    SplitHeads,
    TracedAttention,
    traced_attention,
)
from prunebench.variants.graph.surgery import SplitC2f, fold_c2f, split_c2f


@pytest.fixture(params=["yolov8n", "yolo11n", "yolo12n", "yolo26n", "attentive"])
def network(request: pytest.FixtureRequest) -> Any:
    return tiny_network(request.param)


def test_splitting_and_folding_are_exact(network: Any) -> None:
    before, classes = predictions(network), _classes(network)
    blocks = [n for n, module in network.named_modules() if isinstance(module, C2f | C2PSA)]

    assert list(split_c2f(network)) == blocks
    assert not any(isinstance(module, C2f | C2PSA) for module in network.modules())
    assert torch.equal(predictions(network)[0], before[0])

    fold_c2f(network)
    assert _classes(network) == classes
    assert torch.equal(predictions(network)[0], before[0])
    for module in network.modules():
        if isinstance(module, C2f):
            module.forward = module.forward_split  # what export runs
    assert torch.equal(predictions(network)[0], before[0])


def test_settings_of_batchnorm_survive() -> None:
    network = tiny_network("yolov8n")
    block = network.model[2]
    block.cv1.bn.eps, block.cv1.bn.momentum = 0.007, 0.123
    block.cv1.bn.num_batches_tracked.fill_(11)
    split_c2f(network)
    for half in (network.model[2].cv0, network.model[2].cv1):
        assert (half.bn.eps, half.bn.momentum, half.bn.training) == (0.007, 0.123, False)
    fold_c2f(network)
    folded = network.model[2].cv1.bn
    assert (folded.eps, folded.momentum, int(folded.num_batches_tracked)) == (0.007, 0.123, 11)
    assert not any(module.training for module in network.modules())


def test_halves_of_different_widths_cannot_be_folded() -> None:
    network = tiny_network("yolov8n")
    split_c2f(network)
    network.model[2].cv0 = type(network.model[2].cv0)(8, 3, 1)
    with pytest.raises(StepError, match="halves of a C2f ended 3 and 8 channels wide"):
        fold_c2f(network)


@pytest.mark.parametrize(
    ("name", "where", "kind"),
    [
        ("yolo11n", "model.10.m.0.attn", OpaqueAttention),
        ("attentive", "model.4.m.0.attn", TracedAttention),
    ],
)
def test_attention_is_replaced_inside_the_block_only(name: str, where: str, kind: type) -> None:
    network = tiny_network(name)
    before = predictions(network)
    split_c2f(network)
    with traced_attention(network) as opaque:
        assert list(opaque) == ([where] if kind is OpaqueAttention else [])
        assert not any(isinstance(module, Attention) for module in network.modules())
        assert isinstance(network.get_submodule(where), kind)
        assert predictions(network)[0].shape == before[0].shape
    assert torch.equal(predictions(network)[0], before[0])


def test_attention_comes_back_after_an_error() -> None:
    network = tiny_network("yolo11n")
    with pytest.raises(RuntimeError), traced_attention(network):
        raise RuntimeError
    assert isinstance(network.get_submodule("model.10.m.0.attn"), Attention)


def test_kit_networks_are_tiny_and_named() -> None:
    network = tiny_network("yolov8n")
    assert network.names == NAMES
    assert parameters(network) < 1_100_000
    assert Path(network.yaml["yaml_file"]).stem == "tiny-yolov8n"


def _classes(network: nn.Module) -> list[tuple[str, type[nn.Module]]]:
    named = [(name, type(module)) for name, module in network.named_modules()]
    assert not any(issubclass(kind, SplitC2f | SplitHeads) for _, kind in named)
    return sorted(named, key=lambda item: item[0])
