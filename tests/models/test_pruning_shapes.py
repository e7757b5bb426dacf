"""What an allocation would count is what pruning to it counts."""

from __future__ import annotations

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pruning_kit import HW, parameters, tiny_network

from prunebench.variants.graph.groups import trace
from prunebench.variants.graph.surgery import fold_c2f, split_c2f
from prunebench.variants.pruning.importance import score_groups
from prunebench.variants.pruning.shapes import shapes_of
from prunebench.variants.structure import structure_of

MODELS = ("yolov8n", "yolov9t", "yolov10n", "yolo11n", "yolo12n", "yolo26n")
MODELS += ("yolov8n-seg", "yolo11n-seg", "attentive")


@pytest.mark.parametrize("name", MODELS)
# A network takes a second, so a counterexample is not made smaller.
@settings(max_examples=2, phases=[Phase.explicit, Phase.generate])
@given(data=st.data())
def test_counts_are_those_of_the_pruned_network(name: str, data: st.DataObject) -> None:
    network = tiny_network(name)
    before = structure_of(network, HW)
    split_c2f(network)
    graph = trace(network)
    shapes = shapes_of(graph, HW)
    assert shapes.parameters(shapes.full) == before.parameters
    assert shapes.macs(shapes.full) == before.macs
    kept: dict[str, int] = {}
    by_bundle: dict[int, int] = {}
    for group in graph.groups:
        heads = data.draw(st.integers(1, group.width // group.grain))
        kept[group.root] = by_bundle.setdefault(group.bundle, heads * group.grain)
    graph.prune(score_groups(graph.groups, "magnitude", seed=0), kept)
    fold_c2f(network)
    after = structure_of(network, HW)
    assert shapes.parameters(kept) == after.parameters == parameters(network)
    assert shapes.macs(kept) == after.macs
    assert torch.isfinite(network(torch.zeros(1, 3, *HW))[0][0]).all()
