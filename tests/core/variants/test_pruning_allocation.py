"""Counted targets on real networks, and what silencing channels stands for."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from pruning_kit import HW, parameters, tiny_network

from prunebench.common.errors import ConfigError
from prunebench.config.pruning import Allocation
from prunebench.config.targets import parse_goal
from prunebench.data.scenes import generate_scenes
from prunebench.variants.pruning.allocation import Measurements, allocate
from prunebench.variants.pruning.batches import batches_for
from prunebench.variants.pruning.costs import CostModel, LayerCost, grid_of
from prunebench.variants.pruning.paths import bundles_of
from prunebench.variants.pruning.pruner import Opened, narrow, open_network
from prunebench.variants.pruning.sensitivity import SHARES, loss_of, lost_by, silenced
from prunebench.variants.pruning.shapes import Products, Shapes, shapes_of
from prunebench.variants.structure import structure_of

BLOCK = 4


def opened(name: str = "yolov8n") -> tuple[Opened, Shapes]:
    network = open_network(tiny_network(name))
    return network, shapes_of(network.graph, HW)


def made_up(network: Opened, shapes: Shapes) -> Measurements:
    """A layer takes a nanosecond per MAC, and every group is missed alike."""
    bundles = bundles_of(network.graph.groups, BLOCK)
    table = {}
    for layer in shapes.parts:
        if not (layer.inputs.groups or layer.outputs.groups):
            continue
        inputs, outputs = grid_of(layer, bundles)
        if isinstance(layer, Products):
            once = layer.macs(shapes.full) / layer.outputs.at(shapes.full)
            table[layer.name] = LayerCost(
                inputs=(1,),
                outputs=tuple(outputs),
                microseconds=(tuple(once * o / 1000 for o in outputs),),
            )
            continue
        if not layer.swept[0]:
            continue
        area = layer.kernel[0] * layer.kernel[1] * layer.swept[0] * layer.swept[1]
        table[layer.name] = LayerCost(
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            microseconds=tuple(tuple(i * o * area / 1000 for o in outputs) for i in inputs),
        )
    return Measurements(table, {bundle.roots[0]: SHARES for bundle in bundles})


@pytest.mark.parametrize("allocation", ["uniform", "global", "latency-aware"])
@pytest.mark.parametrize("kind", ["parameters", "macs"])
@pytest.mark.parametrize("name", ["yolov8n", "yolo11n", "attentive"])
def test_a_counted_target_is_reached_and_not_overshot_by_a_move(
    name: str, kind: str, allocation: Allocation
) -> None:
    network, shapes = opened(name)
    now = shapes.parameters_now if kind == "parameters" else shapes.macs(shapes.full)
    goal = parse_goal(f"{0.6 * now:.0f} {kind}")
    found = allocate(
        network, shapes, goal, allocation, block=BLOCK, measurements=made_up(network, shapes)
    )
    counted = shapes.parameters(found.kept) if kind == "parameters" else shapes.macs(found.kept)
    assert counted <= goal.value
    assert counted > 0.8 * goal.value
    groups = network.graph.groups
    assert all(found.kept[g.root] % BLOCK == 0 or found.kept[g.root] == g.width for g in groups)
    assert all(found.kept[g.root] >= min(BLOCK, g.width) for g in groups)
    split: Any = network.graph.network
    narrow(network, found.kept, round_to=BLOCK)
    after = structure_of(split, HW)
    assert found.reached.goal == goal.label
    assert found.reached.parameters == after.parameters
    assert found.reached.macs == shapes.macs(found.kept)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("9M parameters", r"not below the baseline, which has \d"),
        ("9G MACs", r"not below the baseline"),
        ("100 parameters", r"beyond the narrowest network these settings allow, which has \d"),
        ("0.999", r"beyond the narrowest network"),
    ],
)
def test_a_target_no_network_reaches_is_bad_input(text: str, what: str) -> None:
    network, shapes = opened()
    allocation: Allocation = "global" if text == "0.999" else "uniform"
    with pytest.raises(ConfigError, match=what):
        allocate(network, shapes, parse_goal(text), allocation, block=BLOCK)


def test_interpolated_costs_are_exact_where_time_is_bilinear() -> None:
    network, shapes = opened()
    model = CostModel(shapes.parts, made_up(network, shapes).costs)
    bundles = bundles_of(network.graph.groups, BLOCK)
    for share in (1.0, 0.5, 0.25):
        kept = {
            root: max(min(BLOCK, b.width), int(b.width * share) // BLOCK * BLOCK)
            for b in bundles
            for root in b.roots
        }
        variable = [x for x in shapes.layers if x.inputs.groups or x.outputs.groups]
        macs = sum(layer.macs(kept) for layer in variable)
        # A depthwise layer's grid has one side, so its time is that of its outputs.
        assert model.microseconds(kept) == pytest.approx(macs / 1000, rel=1e-9)


def test_lost_importance_never_falls_and_starts_at_nothing() -> None:
    network, _ = opened()
    bundles = bundles_of(network.graph.groups, BLOCK)
    lost = lost_by(bundles[0], [0.2, 0.1, 0.5])
    width = bundles[0].width
    values = [lost(kept) for kept in range(width, 0, -1)]
    assert values[0] == 0
    assert all(b >= a for a, b in itertools.pairwise(values))
    assert lost(round(width * 0.25)) == pytest.approx(0.5)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("scenes") / "set"
    data = generate_scenes(root, train=8, val=1, test=1, width=96, height=64, labels="polygons")
    return sorted((data.parent / "images" / "train").iterdir())


@pytest.mark.parametrize("name", ["yolov8n", "yolo11n", "yolov8n-seg", "yolo26n-seg"])
def test_silenced_channels_cost_what_removed_ones_do(name: str, images: list[Path]) -> None:
    batches = list(batches_for(tiny_network(name), images, 1, imgsz=HW, seed=0))
    network, _ = opened(name)
    split: Any = network.graph.network
    kept = {group.root: max(1, group.width // 2) for group in network.graph.groups}
    gone: Mapping[str, torch.Tensor] = {
        member: network.scores[g.root].argsort(stable=True)[: g.width - kept[g.root]]
        for g in network.graph.groups
        for member in g.members
    }
    whole = loss_of(split, batches)
    with silenced(split, gone):
        expected = loss_of(split, batches)
    assert loss_of(split, batches) == whole
    assert expected != pytest.approx(whole, rel=1e-3)
    before = parameters(split)
    narrow(network, kept, round_to=None)
    assert parameters(split) < before
    assert loss_of(split, batches) == pytest.approx(expected, rel=1e-4)
