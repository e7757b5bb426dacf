"""Attention that lost whole heads: what it computes, and that plain Ultralytics goes on with it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from pruning_kit import HW, NAMES, predictions, prune_uniformly, tiny_network
from retraining_kit import make_dataset, request
from ultralytics import YOLO

from prunebench.config.sections import LatencyConfig
from prunebench.measuring.jobs import kernel_microseconds
from prunebench.measuring.session import SessionSettings
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_audit
from prunebench.variants.audit import audit_file, judge
from prunebench.variants.checkpoint import load_checkpoint, save_checkpoint
from prunebench.variants.export import Request, run
from prunebench.variants.pruning.costs import grid_of, time_layers
from prunebench.variants.pruning.paths import bundles_of
from prunebench.variants.pruning.pruner import narrow, open_network
from prunebench.variants.pruning.sensitivity import silenced
from prunebench.variants.pruning.shapes import shapes_of
from prunebench.variants.retraining.saved import tensor_shapes
from prunebench.variants.retraining.step import run as train
from prunebench.variants.structure import attentions, structure_of

SESSION = SessionSettings.of(LatencyConfig())


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pruned") / "pruned.pt"
    network = tiny_network("attentive")
    prune_uniformly(network, ratio=0.5, round_to=8)
    save_checkpoint(network, path, {})
    return path


def test_a_head_less_computes_what_silencing_it_does() -> None:
    """Of ``AAttn``, whose heads go alone, in the network as Ultralytics builds it."""
    network = tiny_network("attentive")
    whole, silent = predictions(network), tiny_network("attentive")
    name = "model.2.m.0.0.attn"
    opened = open_network(network)
    [heads] = [g for g in opened.graph.groups if g.root == f"{name}.qkv.0.conv"]
    weak = int(opened.scores[heads.root].view(2, heads.head)[:, 0].argmin())
    with torch.no_grad():
        columns = slice(weak * heads.head, (weak + 1) * heads.head)
        silent.get_submodule(f"{name}.proj.conv").weight[:, columns] = 0
    kept = {g.root: g.width for g in opened.graph.groups} | {heads.root: heads.head}
    narrow(opened, kept, round_to=None)
    attention = attentions(network)[name]
    assert (attention.num_heads, attention.all_head_dim, attention.head_dim) == (1, 32, 32)
    expected = predictions(silent)[0]
    torch.testing.assert_close(predictions(network)[0], expected, rtol=1e-5, atol=1e-5)
    assert (whole[0] - expected).abs().max() > 1e-3


def test_silenced_heads_compute_what_removed_ones_do() -> None:
    """Of every attention, with the channels that go with them, as the step before pruning does."""
    opened = open_network(tiny_network("attentive"))
    split: Any = opened.graph.network
    groups = opened.graph.groups
    kept = {g.root: g.width // 2 if g.grain > 1 else g.width for g in groups}
    gone = {
        member: opened.scores[g.root].argsort(stable=True)[: g.width - kept[g.root]]
        for g in groups
        for member in g.members
    }
    whole = predictions(split)[0]
    with silenced(split, gone):
        expected = predictions(split)[0]
    narrow(opened, kept, round_to=None)
    assert {attention.num_heads for attention in attentions(split).values()} == {1}
    torch.testing.assert_close(predictions(split)[0], expected, rtol=1e-5, atol=1e-4)
    assert (whole - expected).abs().max() > 1e-2


@pytest.mark.parametrize("strong", [0, 1])
def test_the_head_worth_more_stays_as_it_was(strong: int) -> None:
    network = tiny_network("attentive")
    expected = {}
    for name, attention in attentions(network).items():
        block = attention.qkv.conv.out_channels // attention.num_heads
        rows = slice(strong * block, (strong + 1) * block)
        with torch.no_grad():
            attention.qkv.conv.weight[rows] *= 10
            # One of its channels is worth nothing, and goes with its head or not at all.
            attention.qkv.conv.weight[rows][3] = 0
        kept = attention.qkv.conv.weight[rows].flatten(1)
        expected[name] = torch.cat((kept.norm(dim=1), attention.qkv.bn.running_var[rows]))
    opened = open_network(network, ignore=("model.0",))
    narrow(
        opened,
        {g.root: g.width // (2 if g.head > 1 else 1) for g in opened.graph.groups}
        | {g.root: g.width // 2 for g in opened.graph.groups if g.grain > 1},
        round_to=None,
    )
    for name, attention in attentions(network).items():
        assert attention.num_heads == 1
        found = attention.qkv.bn.running_var
        assert torch.equal(found, expected[name][len(found) :])
        if name.startswith("model.2"):  # The others lose half of their inputs, too.
            norms = attention.qkv.conv.weight.flatten(1).norm(dim=1)
            torch.testing.assert_close(norms, expected[name][: len(found)])


def test_plain_ultralytics_opens_and_exports_it(pruned: Path, tmp_path: Path) -> None:
    image = tmp_path / "image.png"
    cv2.imwrite(str(image), np.random.default_rng(0).integers(0, 255, (*HW, 3), dtype=np.uint8))
    opened: Any = YOLO(pruned)
    assert {a.num_heads for a in attentions(opened.model).values()} == {1}
    assert torch.equal(predictions(opened.model.eval())[0], predictions(load_checkpoint(pruned))[0])
    (result,) = opened.predict(image, imgsz=HW, conf=0.001, verbose=False)
    assert result.names == NAMES

    exported = run(
        Request.model_validate(
            {
                "checkpoint": str(pruned),
                "imgsz": HW,
                "opset": 17,
                "images": (str(image),),
                "box_tolerance_px": 0.5,
                "score_tolerance": 0.005,
                "thresholds": {"conf": 0.25, "iou": 0.7, "max_det": 300},
                "session": SESSION,
            }
        ),
        tmp_path,
        lambda event: None,
    )
    assert exported.parity.max_box_px < 0.05
    assert exported.parity.max_score < 1e-4
    counted = audit_file(tmp_path / exported.onnx.path).counted
    assert counted is not None
    expected = structure_of(load_checkpoint(pruned), HW)
    # The export multiplies ``gamma`` into a convolution.
    assert (counted.macs, counted.parameters_fused) == (expected.macs, expected.parameters_fused)


def test_the_audit_counts_heads(pruned: Path) -> None:
    whole = judge(structure_of(tiny_network("attentive"), HW), parent=None, baseline=None)
    found = judge(structure_of(load_checkpoint(pruned), HW), parent=whole, baseline=whole)
    assert found.verdict == "pruned"
    assert tell_audit(found, Messages("en")).endswith(", attention keeps 4 of 8 heads")
    again = judge(found.structure, parent=found, baseline=whole)
    assert "heads" not in tell_audit(again, Messages("en"))


def test_retraining_keeps_it(pruned: Path, tmp_path: Path) -> None:
    data_yaml = make_dataset(tmp_path / "data", names=NAMES)
    result = train(request(pruned, data_yaml, "preserving", epochs=1), tmp_path, lambda event: None)
    before, after = load_checkpoint(pruned), load_checkpoint(tmp_path / result.checkpoint.path)
    assert tensor_shapes(after) == tensor_shapes(before)
    assert structure_of(after, HW).heads == structure_of(before, HW).heads
    weights = (
        dict(n.named_parameters())["model.4.m.0.attn.qkv.conv.weight"] for n in (before, after)
    )
    assert not torch.equal(*weights)


def test_what_heads_cost_is_timed(tmp_path: Path) -> None:
    opened = open_network(tiny_network("attentive"))
    shapes = shapes_of(opened.graph, (192, 320))
    bundles = bundles_of(opened.graph.groups, 16)
    grids = {part.name: (part, *grid_of(part, bundles)) for part in shapes.products}
    assert list(grids) == list(attentions(opened.graph.network))
    assert grids["model.2.m.0.0.attn"][1:] == ([1], [32, 64])
    numbers = itertools.count()

    def timed(graphs: Any) -> list[list[float]]:
        return [
            kernel_microseconds(graph, count, SESSION, 1, tmp_path / str(next(numbers)))
            for graph, count in graphs
        ]

    for cost in time_layers(grids, timed).values():
        [(one, two)] = cost.microseconds
        assert 0 < one < two
