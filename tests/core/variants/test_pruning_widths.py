"""A file of widths gives the same network again, and what contradicts itself is one sentence."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from pruning_kit import HW, tiny_network
from torch import nn

from prunebench.common.errors import ConfigError
from prunebench.variants.graph.groups import PruningGraph
from prunebench.variants.pruning.alignment import uniform_width
from prunebench.variants.pruning.pruner import Opened, narrow, open_network
from prunebench.variants.pruning.widths import kept_of, read_widths, widths_of, write_widths
from prunebench.variants.structure import structure_of


def other_weights(name: str) -> Any:
    network = tiny_network(name)
    torch.manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=0.1)
    return network


def unequal(opened: Opened) -> dict[str, int]:
    """Widths without any order, alike in the groups that have to be."""
    shares = (0.2, 0.5, 0.0, 0.7)
    return {
        group.root: uniform_width(group, shares[group.bundle % len(shares)], None)
        for group in opened.graph.groups
    }


@pytest.mark.parametrize("name", ["yolov8n", "yolo11n", "yolov8n-seg", "attentive"])
def test_the_widths_of_a_network_give_the_same_one_of_another_checkpoint(
    name: str, tmp_path: Path
) -> None:
    opened = open_network(tiny_network(name))
    kept = unequal(opened)
    full = {group.root: group.width for group in opened.graph.groups}
    made, was = (widths_of(opened.graph, each) for each in (kept, full))
    write_widths(tmp_path / "widths.yaml", made, was)
    first: Any = opened.graph.network
    narrow(opened, kept, round_to=None)
    expected = structure_of(first, HW).widths

    widths = read_widths(tmp_path / "widths.yaml")
    assert widths.items() <= expected.items()
    other = open_network(other_weights(name))
    again = kept_of(other.graph, widths)
    assert again == kept
    second: Any = other.graph.network
    narrow(other, again, round_to=None)
    assert structure_of(second, HW).widths == expected
    # What was pruned so is as wide as the file says, so that nothing is left to remove, and nothing
    # of attention's only head can be set.
    with pytest.raises(ConfigError, match=r"removes no channel|set \(attention\)"):
        kept_of(open_network(second).graph, widths)


@functools.cache
def graph() -> PruningGraph:
    """Of YOLOv8n at an eighth of its width: model.0.conv has 8 channels."""
    return open_network(tiny_network("yolov8n")).graph


def test_what_is_not_named_keeps_its_width() -> None:
    kept = kept_of(graph(), {"model.0.conv": 3, "model.2.cv1.conv": 6})
    full = {group.root: group.width for group in graph().groups}
    changed = {root: width for root, width in kept.items() if width != full[root]}
    # Both halves, and what the shortcut adds to one of them.
    assert changed == {"model.0.conv": 3, "model.2.cv0.conv": 3, "model.2.cv1.conv": 3}


@pytest.mark.parametrize(
    ("widths", "round_to", "said"),
    [
        (
            {"model.0.conv": 9},
            None,
            "model.0.conv: 9 is more than the 8 channels it has; give 1 to 8",
        ),
        (
            {"model.0.cnov": 4},
            None,
            "no layer model.0.cnov that could be narrowed; the nearest are",
        ),
        ({"model.22.cv3.0.2": 4}, None, "model.22.cv3.0.2 is not pruning's to set"),
        ({"model.2.cv1.conv": 5}, None, "5 cannot be cut into its 2 equally wide parts"),
        (
            {"model.2.cv1.conv": 4, "model.2.m.0.cv2.conv": 4},
            None,
            "model.2.cv1.conv: 4 and model.2.m.0.cv2.conv: 4 contradict each other, their channels "
            "hang together; give model.2.m.0.cv2.conv 2, or model.2.cv1.conv 8",
        ),
        ({"model.0.conv": 6}, 4, "model.0.conv: 6 is off prune.round_to, 4; set"),
        (
            {"model.2.cv1.conv": 4},
            4,
            "model.2.cv1.conv: 4 is off prune.round_to, 4 in each part; set round_to to auto, or "
            "give a multiple of 8",
        ),
        ({"model.0.conv": 8}, None, "the file removes no channel"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    widths: dict[str, int], round_to: int | None, said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        kept_of(graph(), widths, round_to)
    assert said in str(caught.value)
    assert str(caught.value).startswith("prune.widths: ")


@pytest.mark.parametrize(
    ("name", "width", "said"),
    [
        ("model.2.m.0.0.attn.qkv.conv", 64, "cannot be cut into its 3 equally wide parts"),
        (
            "model.2.m.0.0.attn.qkv.conv",
            48,
            "leaves no whole number of attention heads; give a multiple of 96",
        ),
        ("model.4.cv1.conv", 96, "no whole number of attention heads; give a multiple of 128"),
    ],
)
def test_a_part_of_a_head_is_refused(name: str, width: int, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        kept_of(open_network(tiny_network("attentive")).graph, {name: width})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model.0.conv: 0", "model.0.conv: 0 is no number of channels; give 1 or more"),
        ("model.0.conv: 2.5", "model.0.conv: 2.5 is no number of channels"),
        ("model.0.conv: true", "model.0.conv: True is no number of channels"),
        ("7: 8", "7 is no layer's name"),
        ("- 8", "it holds no widths by layer"),
        ("", "it holds no widths by layer"),
        ("a: [", "it cannot be read"),
        (None, "there is no file"),
    ],
)
def test_a_file_of_something_else_is_refused(text: str | None, said: str, tmp_path: Path) -> None:
    file = tmp_path / "widths.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_widths(file)
    assert said in str(caught.value)
    assert str(file) in str(caught.value)


def test_the_file_says_what_it_is_for(tmp_path: Path) -> None:
    full = {"model.0.conv": 16, "model.22.cv3.0.0.conv": 80}
    write_widths(tmp_path / "widths.yaml", full | {"model.0.conv": 8}, full)
    text = (tmp_path / "widths.yaml").read_text()
    assert text.startswith("# Output channels")
    assert "prune.widths" in text
    # A network of fewer classes has no 80 channels there, and keeps those it has.
    assert "# model.22.cv3.0.0.conv: 80" in text
    assert yaml.safe_load(text) == {"model.0.conv": 8}
