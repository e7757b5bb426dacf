"""What may be pruned, what must go together, and what is left alone."""

from __future__ import annotations

import functools
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from pruning_kit import tiny_network
from torch import nn

from prunebench.common.errors import ConfigError, StepError
from prunebench.variants.graph import groups as groups_module
from prunebench.variants.graph.groups import (
    IS_ATTENTION,
    IS_IGNORED,
    IS_PREDICTION,
    PruningGraph,
    trace,
)
from prunebench.variants.graph.surgery import SplitC2f, split_c2f
from prunebench.variants.pruning.pruner import narrow, open_network


@functools.cache
def traced(name: str, ignore: tuple[str, ...] = ()) -> PruningGraph:
    network = tiny_network(name)
    split_c2f(network)
    return trace(network, ignore)


@pytest.fixture(scope="module")
def yolov8() -> PruningGraph:
    return traced("yolov8n")


def test_only_predictions_and_decoding_of_yolov8_are_left_alone(yolov8: PruningGraph) -> None:
    branches = [f"model.22.{b}.{level}.2" for b in ("cv2", "cv3") for level in range(3)]
    assert set(yolov8.left_alone) == {*branches, "model.22.dfl.conv"}
    assert all(yolov8.left_alone[name] == IS_PREDICTION for name in branches)


def test_every_convolution_is_in_one_group_or_left_alone(yolov8: PruningGraph) -> None:
    members = [member for group in yolov8.groups for member in group.members]
    assert len(members) == len(set(members))
    convolutions = {
        name for name, module in yolov8.network.named_modules() if isinstance(module, nn.Conv2d)
    }
    assert convolutions == set(members) | set(yolov8.left_alone)


def test_a_shortcut_couples_what_it_adds(yolov8: PruningGraph) -> None:
    group = next(group for group in yolov8.groups if group.root == "model.4.cv1.conv")
    assert set(group.members) == {
        "model.4.cv1.conv",
        "model.4.m.0.cv2.conv",
        "model.4.m.1.cv2.conv",
    }


def test_both_halves_of_a_c2f_share_a_bundle(yolov8: PruningGraph) -> None:
    bundle_of = {member: group.bundle for group in yolov8.groups for member in group.members}
    for name, module in yolov8.network.named_modules():
        if isinstance(module, SplitC2f):
            assert bundle_of[f"{name}.cv0.conv"] == bundle_of[f"{name}.cv1.conv"]


def test_names_are_those_of_the_stock_network(yolov8: PruningGraph) -> None:
    assert yolov8.stock_name("model.2.cv0.conv") == "model.2.cv1.conv"
    assert yolov8.stock_name("model.22.cv2.0.2") == "model.22.cv2.0.2"


def test_a_name_to_ignore_covers_everything_inside_it() -> None:
    graph = traced("yolov8n", ("model.0", "model.6.cv1"))
    assert graph.left_alone["model.0.conv"] == IS_IGNORED
    assert graph.left_alone["model.6.cv1.conv"] == IS_IGNORED
    # Added to the ignored half by the shortcuts.
    shared = IS_IGNORED.model_copy(update={"shared_with": "model.6.cv1.conv"})
    assert graph.left_alone["model.6.m.1.cv2.conv"] == shared
    assert not any("model.6.cv0" in member for group in graph.groups for member in group.members)


@pytest.mark.parametrize("name", ["model.99", "model.2.cv0", "modle.2", ""])
def test_an_unknown_name_to_ignore_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"prune.ignore: the network has no module .*nearest are"):
        traced("yolov8n", (name,))


@pytest.mark.parametrize("name", ["yolo11n", "yolo26n"])
def test_attention_keeps_its_width_and_its_reason(name: str) -> None:
    graph = traced(name)
    attention = [name for name, reason in graph.left_alone.items() if reason == IS_ATTENTION]
    assert attention
    assert all(name.endswith(".attn") for name in attention)
    # The hidden layer of the block's feed-forward network is ordinary and may be pruned.
    assert any(".ffn.0.conv" in member for group in graph.groups for member in group.members)


def test_heads_go_whole_and_where_needed_with_what_attention_reads() -> None:
    graph = traced("attentive")
    of = {member: group for group in graph.groups for member in group.members}
    assert not any(reason == IS_ATTENTION for reason in graph.left_alone.values())
    for name in ("model.2.m.0.0.attn", "model.2.m.0.1.attn"):
        heads = of[f"{name}.qkv.0.conv"]
        assert (heads.width, heads.head, heads.grain) == (64, 32, 32)
        assert heads.members == tuple(f"{name}.{m}.conv" for m in ("qkv.0", "pe", "qkv.1", "qkv.2"))
        # What it reads is as wide as it likes.
        assert of[f"{name}.proj.conv"].grain == 1
    for block, inner in (("model.4", "m.0"), ("model.5", "m.0.1")):
        heads = of[f"{block}.{inner}.attn.qkv.0.conv"]
        assert (heads.width, heads.head, heads.grain) == (128, 64, 64)
        halves = [of[f"{block}.{half}.conv"] for half in ("cv0", "cv1")]
        assert {heads.bundle} == {half.bundle for half in halves}
        assert [(half.head, half.grain) for half in halves] == [(1, 64), (1, 64)]
        assert f"{block}.{inner}.attn.proj.conv" in halves[1].members
    assert graph.stock_name("model.4.m.0.attn.qkv.1.conv") == "model.4.m.0.attn.qkv.conv"
    assert graph.stock_name("model.4.m.0.attn.qkv") == "model.4.m.0.attn.qkv"


def test_the_only_head_of_attention_stays_and_its_input_may_go() -> None:
    network = tiny_network("attentive")
    opened = open_network(network)
    narrow(opened, {g.root: g.grain for g in opened.graph.groups}, round_to=None)
    split_c2f(network)
    graph = trace(network)
    attention = {name for name, reason in graph.left_alone.items() if reason == IS_ATTENTION}
    kept = {f"model.2.m.0.{i}.attn.{part}.conv" for i in range(2) for part in ("qkv", "pe")}
    assert attention == kept | {"model.4.m.0.attn", "model.5.m.0.1.attn"}


def test_both_heads_of_yolo26_keep_their_predictions() -> None:
    left_alone = traced("yolo26n").left_alone
    for branch in ("cv2", "cv3", "one2one_cv2", "one2one_cv3"):
        assert left_alone[f"model.23.{branch}.0.2"] == IS_PREDICTION


@pytest.mark.parametrize("name", ["yolov8n-seg", "yolo26n-seg"])
def test_mask_prototypes_and_coefficients_are_predictions(name: str) -> None:
    left_alone = traced(name).left_alone
    head = "model.22" if name.startswith("yolov8") else "model.23"
    assert left_alone[f"{head}.proto.cv3.conv"] == IS_PREDICTION
    assert left_alone[f"{head}.cv4.0.2"] == IS_PREDICTION


def test_a_module_that_reshapes_its_channels_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups_module, "traced_attention", lambda network: nullcontext({}))
    network = tiny_network("yolo11n")
    split_c2f(network)
    with pytest.raises(StepError, match=r"model\.10\.m\.0\.attn \(Attention\).*reshapes"):
        trace(network)


def test_a_module_that_divides_its_channels_is_named() -> None:
    with pytest.raises(StepError, match=r"model\.2 \(C2f\).*divides those of model\.2\.cv1\.conv"):
        trace(tiny_network("yolov8n"))


def test_a_module_that_fails_to_run_is_named() -> None:
    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError("no such thing")

    network: Any = tiny_network("yolov8n")
    broken = Broken()
    broken.i, broken.f = 9, -1
    network.model[9] = broken
    split_c2f(network)
    with pytest.raises(StepError, match=r"model\.9 \(Broken\) cannot be followed: ValueError"):
        trace(network)
