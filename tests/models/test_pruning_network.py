"""Pruning as a whole: exact counts, laws over models, ratios and alignments, and its steps."""

from __future__ import annotations

import copy
import typing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pruning_kit import (
    HW,
    NAMES,
    parameters,
    predictions,
    prune_uniformly,
    stock_network,
    tiny_network,
)
from torch import nn
from ultralytics.nn.modules.block import C2PSA, AAttn, Attention, C2f, RepNCSPELAN4

from prunebench.common.errors import ConfigError, DatasetError, StepError
from prunebench.common.records import LeftAlone
from prunebench.config.pruning import Importance, PruneConfig
from prunebench.config.targets import parse_goal
from prunebench.data.scenes import generate_scenes
from prunebench.steps.events import Event, Progress
from prunebench.variants.checkpoint import load_checkpoint, save_checkpoint
from prunebench.variants.graph.groups import PruningGraph, trace
from prunebench.variants.graph.surgery import split_c2f
from prunebench.variants.pruning.alignment import aligned_width, uniform_width
from prunebench.variants.pruning.batches import Batch, batches_for
from prunebench.variants.pruning.bn import improve_batchnorm, reestimate_batchnorm
from prunebench.variants.pruning.importance import score_groups, training_losses
from prunebench.variants.pruning.pruner import left_alone, narrow, open_network
from prunebench.variants.pruning.sensitivity import loss_of
from prunebench.variants.pruning.step import Request, run
from prunebench.variants.pruning.widths import read_widths

SHIPPED = Path(__file__).parents[2] / "assets" / "scenes-yolov8n.pt"


@pytest.fixture(scope="module")
def data_yaml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scenes") / "set"
    return generate_scenes(root, train=20, val=1, test=1, width=96, height=64)


@pytest.fixture(scope="module")
def images(data_yaml: Path) -> list[Path]:
    return sorted((data_yaml.parent / "images" / "train").iterdir())


@pytest.mark.parametrize(
    ("ratio", "round_to", "expected"), [(0.15, 8, 1_908_445), (0.15, 16, 1_726_437)]
)
def test_yolov8n_ends_where_torch_prunings_own_pruner_ends(
    ratio: float, round_to: int, expected: int
) -> None:
    """The counts were measured with ``tp.pruner.MetaPruner`` and the same two splits."""
    network = stock_network("yolov8n")
    prune_uniformly(network, ratio=ratio, round_to=round_to)
    assert parameters(network) == expected


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from(
        [
            *("yolov8n", "yolov9t", "yolov10n", "yolo11n", "yolo12n", "yolo26n"),
            *("yolov8n-seg", "yolo11n-seg", "yolov8n-pose", "yolo26n-pose", "yolov8n-obb"),
        ]
    ),
    ratio=st.floats(0.1, 0.9),
    round_to=st.sampled_from([None, 4, 8]),
)
def test_laws(name: str, ratio: float, round_to: int | None) -> None:
    stock = tiny_network(name)
    network = assert_laws(stock, ratio, round_to)
    # What only training runs has to fit as well.
    network.train()
    outputs = network(torch.zeros(2, 3, *HW))
    assert outputs


@pytest.mark.parametrize("kind", ["", "-seg"])
@pytest.mark.parametrize("size", ["n", "s", "m"])
@pytest.mark.parametrize("family", ["yolov8", "yolo11", "yolo26"])
def test_laws_hold_for_every_family_size_and_task(family: str, size: str, kind: str) -> None:
    stock = stock_network(f"{family}{size}{kind}")
    network = assert_laws(stock, 0.5, 8)
    # A layer halved on both sides keeps a quarter of its weights, one left alone keeps more.
    assert parameters(stock) / 4 < parameters(network) < 3 / 4 * parameters(stock)


@pytest.mark.parametrize("ratio", [0.3, 0.9])
@pytest.mark.parametrize("round_to", [None, 8])
def test_no_layer_is_left_without_a_channel(ratio: float, round_to: int | None) -> None:
    """The ghost network has layers of which depthwise ones take half, down to a single channel."""
    network = assert_laws(tiny_network("yolov8n-ghost"), ratio, round_to)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert min(min(module.weight.shape[:2]) for module in convolutions) >= 1


def assert_laws(stock: Any, ratio: float, round_to: int | None) -> Any:
    """Prune a copy of a network, check what holds for every network, and hand it back."""
    network = copy.deepcopy(stock)
    opened = open_network(network)
    kept = {g.root: uniform_width(g, ratio, round_to) for g in opened.graph.groups}
    with_heads = {
        opened.graph.stock_name(member): (group.width, kept[group.root])
        for group in opened.graph.groups
        for member in group.members
        if group.grain > 1
    }
    alone = left_alone(opened.graph, kept, round_to)
    narrow(opened, kept, round_to=round_to)
    assert parameters(network) < parameters(stock)
    assert [p.shape for p in predictions(network)] == [p.shape for p in predictions(stock)]
    assert {type(m) for m in network.modules()} == {type(m) for m in stock.modules()}
    assert not any(module.training for module in network.modules())
    for name, module in network.named_modules():
        original = stock.get_submodule(name)
        if isinstance(module, C2f):
            assert module.cv1.conv.out_channels == 2 * module.c
        if isinstance(module, Attention | AAttn):
            width = module.num_heads * module.head_dim
            assert 1 <= module.num_heads <= original.num_heads
            assert width == module.proj.conv.in_channels == getattr(module, "all_head_dim", width)
        if name in with_heads:
            width, left = with_heads[name]
            assert module.out_channels == original.out_channels // width * left
        elif isinstance(module, nn.Conv2d):
            halved = name.endswith("cv1.conv") and isinstance(
                stock.get_submodule(name.removesuffix(".cv1.conv")), (C2f, C2PSA, RepNCSPELAN4)
            )
            parts = 2 if halved else 1
            width = original.out_channels // parts
            untouched = any(name == n or name.startswith(f"{n}.") for n in alone)
            wanted = width if untouched else aligned_width(width, ratio, round_to)
            assert module.out_channels == parts * wanted
    return network


def test_importance_decides_which_channels_stay() -> None:
    network: Any = tiny_network("yolov8n")
    conv = network.model[0]
    with torch.no_grad():
        conv.conv.weight[3] *= 100
        network.model[1].conv.weight[:, 3] *= 100
        conv.bn.weight[3] *= 100
        strongest = conv.conv.weight[3].clone()
    prune_uniformly(network, ratio=0.9, round_to=None)
    assert conv.conv.out_channels < 8
    assert any(torch.equal(weight, strongest) for weight in conv.conv.weight)


def test_ignored_modules_keep_their_width() -> None:
    network: Any = tiny_network("yolov8n")
    width = network.model[0].conv.out_channels
    alone = prune_uniformly(network, ratio=0.5, round_to=None, ignore=("model.0",))
    assert network.model[0].conv.out_channels == width
    assert network.model[1].conv.out_channels == 8
    assert alone["model.0.conv"] == LeftAlone(reason="ignored")


def test_a_layer_no_wider_than_a_block_says_so() -> None:
    alone = prune_uniformly(tiny_network("yolov8n"), ratio=0.5, round_to=16)
    assert alone["model.0.conv"] == LeftAlone(reason="narrow_block", width=8, block=16)


def test_removing_nothing_is_an_error() -> None:
    with pytest.raises(StepError, match="aligned to 512 removes no channel"):
        prune_uniformly(tiny_network("yolov8n"), ratio=0.5, round_to=512)
    with pytest.raises(StepError, match="every layer is left alone"):
        prune_uniformly(tiny_network("yolov8n"), ratio=0.5, round_to=8, ignore=("model",))


@pytest.fixture(scope="module")
def graph(images: list[Path]) -> PruningGraph:
    network: Any = tiny_network("yolov8n")
    split_c2f(network)
    traced = trace(network)
    for loss in training_losses(network, batches_for(network, images, 1, imgsz=HW, seed=0)):
        loss.backward()
    return traced


@pytest.mark.parametrize("name", typing.get_args(Importance))
def test_every_estimator_scores_every_channel(graph: PruningGraph, name: Importance) -> None:
    scores = score_groups(graph.groups, name, seed=0)
    for group in graph.groups:
        assert scores[group.root].shape == (group.width,)
        assert torch.isfinite(scores[group.root]).all()
        assert scores[group.root].min() >= 0
        assert scores[group.root].max() > 0


def test_channels_without_batchnorm_are_scored_by_magnitude() -> None:
    network: Any = tiny_network("yolov8n-seg")
    split_c2f(network)
    group = next(g for g in trace(network).groups if g.root == "model.22.proto.upsample")
    by_scale, by_magnitude = (
        score_groups([group], name, seed=0)[group.root] for name in ("bn_scale", "magnitude")
    )
    assert torch.equal(by_scale, by_magnitude)


def test_random_importance_follows_the_seed(graph: PruningGraph) -> None:
    group = graph.groups[0]
    first, same, other = (
        score_groups([group], "random", seed=seed)[group.root] for seed in (1, 1, 2)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_filter_distance_is_the_sum_of_distances_to_all_others(graph: PruningGraph) -> None:
    group = next(g for g in graph.groups if g.members == ("model.22.cv2.0.0.conv",))
    out: Any = graph.network.get_submodule("model.22.cv2.0.0.conv").weight
    into: Any = graph.network.get_submodule("model.22.cv2.0.1.conv").weight
    expected = torch.zeros(group.width)
    for filters in (out.detach().double(), into.detach().double().transpose(0, 1)):
        for i in range(group.width):
            distances = (filters[i] - filters).flatten(1).pow(2).sum(1).sqrt()
            expected[i] += distances.sum() / 2
    scores = score_groups([group], "fpgm", seed=0)[group.root]
    torch.testing.assert_close(scores, expected / expected.mean(), rtol=1e-4, atol=1e-4)


def test_batches_hold_each_image_once_with_its_boxes(images: list[Path]) -> None:
    batches = list(batches_for(tiny_network("yolov8n"), images, 5, imgsz=(64, 96), seed=3))
    assert [len(batch["img"]) for batch in batches] == [16, 4]
    again = list(batches_for(tiny_network("yolov8n"), images, 5, imgsz=(64, 96), seed=3))
    assert torch.equal(batches[0]["img"], again[0]["img"])
    # A 96x64 image fills a 64x96 letterbox, so its labels stay as they are in the files.
    lines = [
        [float(value) for value in line.split()]
        for image in images
        for line in (image.parents[2] / "labels" / "train" / f"{image.stem}.txt")
        .read_text()
        .splitlines()
    ]
    found = torch.cat([torch.cat((b["cls"], b["bboxes"]), 1) for b in batches]).numpy()
    assert np.allclose(sorted(found.tolist()), sorted(lines), atol=1e-5)


def test_boxes_move_with_the_letterbox(images: list[Path]) -> None:
    plain = next(batches_for(tiny_network("yolov8n"), images, 1, imgsz=(64, 96), seed=0))
    padded = next(batches_for(tiny_network("yolov8n"), images, 1, imgsz=(96, 96), seed=0))
    expected = plain["bboxes"] * torch.tensor([1, 64 / 96, 1, 64 / 96])
    expected[:, 1] += 16 / 96
    torch.testing.assert_close(padded["bboxes"], expected)


def test_an_unreadable_image_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "images" / "broken.jpg"
    broken.parent.mkdir()
    broken.write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"broken\.jpg: the image cannot be read"):
        next(batches_for(tiny_network("yolov8n"), [broken], 1, imgsz=HW, seed=0))


def test_batchnorm_statistics_are_averages_over_the_batches() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3, momentum=0.03)).eval()
    norm: Any = network[0]
    generator = torch.Generator().manual_seed(0)
    batches: list[Batch] = [
        {"img": torch.rand(4, 3, 8, 8, generator=generator) * i} for i in (1, 2)
    ]
    assert reestimate_batchnorm(network, batches) == 2
    means = torch.stack([batch["img"].mean((0, 2, 3)) for batch in batches]).mean(0)
    variances = torch.stack([batch["img"].var((0, 2, 3)) for batch in batches]).mean(0)
    torch.testing.assert_close(norm.running_mean, means)
    torch.testing.assert_close(norm.running_var, variances)
    assert (norm.momentum, norm.training) == (0.03, False)


def test_no_batches_leave_batchnorm_alone() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3)).eval()
    norm: Any = network[0]
    norm.running_mean.fill_(5)
    assert reestimate_batchnorm(network, []) == 0
    assert norm.running_mean.tolist() == [5, 5, 5]


def test_batchnorm_statistics_change_where_the_loss_falls_and_only_there(
    images: list[Path],
) -> None:
    network: Any = load_checkpoint(SHIPPED)
    batches = list(batches_for(network, images, 1, imgsz=HW, seed=0))
    reestimate_batchnorm(network, batches)
    fitting = loss_of(network, batches)
    kept = {name: value.clone() for name, value in network.named_buffers()}

    black: list[Batch] = [batches[0] | {"img": torch.zeros_like(batches[0]["img"])}]
    assert improve_batchnorm(network, black, batches) == 0
    for name, value in network.named_buffers():
        assert torch.equal(value, kept[name]), name
    assert not network.training

    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    assert improve_batchnorm(network, batches, batches) == 1
    assert loss_of(network, batches) == pytest.approx(fitting, rel=1e-5)


(BY_WIDTHS,) = PruneConfig(widths="widths.yaml").goals


def request_of(checkpoint: Path, data_yaml: Path, **changes: Any) -> Request:
    usual: dict[str, Any] = {
        "goal": parse_goal("0.4"),
        "round_to": None,
        "importance": "magnitude",
        "bn_batches": 0,
        "ignore": (),
        "imgsz": HW,
    }
    return Request(checkpoint=str(checkpoint), data_yaml=str(data_yaml), **(usual | changes))


def test_the_step_writes_a_checkpoint_of_stock_classes(data_yaml: Path, tmp_path: Path) -> None:
    source = tmp_path / "baseline.pt"
    save_checkpoint(tiny_network("yolov8n"), source, {})
    request = request_of(
        source,
        data_yaml,
        round_to=4,
        importance="taylor",
        bn_batches=1,
        ignore=("model.9",),
        seed=1,
    )
    events: list[Event] = []
    pruned = run(request, tmp_path, events.append)
    network: Any = load_checkpoint(tmp_path / pruned.checkpoint.path)
    assert pruned.checkpoint.holds(tmp_path)
    assert pruned.structure.parameters == parameters(network)
    assert pruned.structure.names == NAMES
    assert pruned.structure.stock is None
    assert tiny_network("yolov8n").model[0].conv.out_channels == 8
    assert pruned.structure.widths["model.0.conv"] == 4
    assert pruned.left_alone["model.9.cv1.conv"] == LeftAlone(reason="ignored")
    assert parameters(network) < 0.6 * parameters(tiny_network("yolov8n"))
    # What plain training starts from is still the description of the unpruned network.
    assert network.yaml == tiny_network("yolov8n").yaml
    assert [event.kind for event in events].count("stage") == 3
    assert Progress(done=1, total=1, unit="batch") in events

    again = tmp_path / "again"
    again.mkdir()
    assert run(request, again, events.append).checkpoint.sha256 == pruned.checkpoint.sha256

    # Its widths given back, on another path of the same kept channels.
    widths = read_widths(tmp_path / pruned.widths.path)
    given = request.model_copy(update={"widths": widths, "ignore": (), "goal": BY_WIDTHS})
    assert run(given, again, events.append).structure.widths == pruned.structure.widths


def test_the_step_reestimates_what_heavy_pruning_spoilt(data_yaml: Path, tmp_path: Path) -> None:
    request = request_of(SHIPPED, data_yaml, round_to=16, bn_batches=2)
    assert run(request, tmp_path, lambda event: None).bn_batches == 2


def test_the_step_refuses_unknown_names(data_yaml: Path, tmp_path: Path) -> None:
    source = tmp_path / "baseline.pt"
    save_checkpoint(tiny_network("yolov8n"), source, {})
    request = request_of(source, data_yaml, ignore=("model.0.cnov",))
    with pytest.raises(ConfigError, match=r"nearest are model\.0\.conv"):
        run(request, tmp_path, lambda event: None)
    assert not (tmp_path / "model.pt").exists()
