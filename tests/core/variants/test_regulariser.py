"""The regularisers' gradients against their formulas and against torch-pruning by itself."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch_pruning as tp
from pruning_kit import tiny_network
from torch import Tensor, nn

from prunebench.common.errors import ConfigError
from prunebench.variants.graph.groups import trace
from prunebench.variants.graph.surgery import split_c2f
from prunebench.variants.retraining.regulariser import Regulariser

WEIGHT = 0.01


def with_gradients(name: str) -> Any:
    """A tiny network whose parameters have gradients of 1, and BatchNorm scales of both signs."""
    network = tiny_network(name)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.mul_(
                    torch.randint(2, module.weight.shape, generator=generator) * 2 - 1
                )
    for parameter in network.parameters():
        parameter.requires_grad_(True)
        parameter.grad = torch.ones_like(parameter)
    return network


def added(network: Any) -> dict[str, Tensor]:
    """What has been added to the gradients of 1."""
    return {name: parameter.grad - 1 for name, parameter in network.named_parameters()}


@pytest.mark.parametrize("name", ["yolov8n", "yolo11n", "yolo26n", "attentive"])
def test_bn_l1_adds_the_sign_of_every_scale_that_pruning_may_remove(name: str) -> None:
    network = with_gradients(name)
    split = tiny_network(name)
    split_c2f(split)
    left_alone = trace(split).left_alone
    Regulariser(network, "bn_l1", WEIGHT).add_gradients(network)
    gradients = added(network)
    regularised = 0
    for path, module in network.named_modules():
        if not isinstance(module, nn.BatchNorm2d):
            continue
        beside = path.removesuffix("bn") + "conv"
        alone = any(f"{beside}.".startswith(f"{other}.") for other in left_alone)
        expected = torch.zeros_like(module.weight) if alone else WEIGHT * module.weight.sign()
        torch.testing.assert_close(gradients.pop(f"{path}.weight"), expected, atol=1e-6, rtol=0)
        regularised += not alone
    assert regularised > 35
    assert all(bool((gradient == 0).all()) for gradient in gradients.values())


def test_group_lasso_is_the_formula_of_the_paper() -> None:
    network = with_gradients("yolov8n")
    Regulariser(network, "group_lasso", WEIGHT).add_gradients(network)
    first, norm, second = network.model[0].conv, network.model[0].bn, network.model[1].conv
    # Fang et al. 2023: I is the norm of all a channel's weights in its group, alpha is 4.
    squares = first.weight.square().sum((1, 2, 3)) + norm.weight.square()
    importance = (squares + second.weight.square().sum((0, 2, 3))).sqrt()
    span = importance.max() - importance.min()
    gamma = 2 ** (4 * (importance.max() - importance) / span)
    expected = WEIGHT * gamma.view(-1, 1, 1, 1) * first.weight
    torch.testing.assert_close(
        added(network)["model.0.conv.weight"], expected, rtol=1e-4, atol=1e-6
    )
    torch.testing.assert_close(
        added(network)["model.0.bn.weight"], WEIGHT * gamma * norm.weight, rtol=1e-4, atol=1e-6
    )


def test_the_gradient_on_a_c2f_is_that_of_its_halves() -> None:
    network = with_gradients("yolov8n")
    split = copy.deepcopy(network).eval()
    split_c2f(split)
    for parameter in split.parameters():
        parameter.grad = torch.zeros_like(parameter)
    head = split.model[-1]
    direct = tp.pruner.GroupNormPruner(
        split,
        torch.zeros(1, 3, 64, 64),
        importance=tp.importance.GroupMagnitudeImportance(p=2, normalizer="max"),
        reg=WEIGHT,
        ignored_layers=[*(b[-1] for branch in (head.cv2, head.cv3) for b in branch), head.dfl],
    )
    direct.regularize(split)
    Regulariser(network, "group_lasso", WEIGHT).add_gradients(network)
    gradients = added(network)
    for part in ("conv.weight", "bn.weight"):
        halves = [split.get_parameter(f"model.2.{half}.{part}").grad for half in ("cv0", "cv1")]
        assert all(bool((half != 0).any()) for half in halves)
        torch.testing.assert_close(
            gradients[f"model.2.cv1.{part}"], torch.cat(halves), rtol=1e-4, atol=1e-6
        )
    whole = [name for name, _ in split.named_parameters() if not _is_half(split, name)]
    for name in whole:
        torch.testing.assert_close(
            gradients[name], split.get_parameter(name).grad, rtol=1e-4, atol=1e-6
        )


def _is_half(split: Any, name: str) -> bool:
    outer = name.rpartition(".cv")[0]
    return name.startswith((f"{outer}.cv0.", f"{outer}.cv1.")) and hasattr(
        split.get_submodule(outer), "cv0"
    )


def test_it_follows_the_weights_and_leaves_out_what_is_frozen_or_ignored() -> None:
    network = with_gradients("yolov8n")
    regulariser = Regulariser(network, "bn_l1", WEIGHT, ignore=("model.0",))
    first, second, third = (network.model[index].bn.weight for index in (0, 1, 3))
    third.grad = None
    with torch.no_grad():
        second.neg_()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for _ in range(2):
        regulariser.add_gradients(network)
    torch.testing.assert_close(second.grad, 1 + 2 * WEIGHT * second.sign())
    assert bool((first.grad == 1).all())
    assert third.grad is None
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(bool((after[name] == tensor).all()) for name, tensor in before.items())


def test_an_unknown_module_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'model\.99'"):
        Regulariser(tiny_network("yolov8n"), "bn_l1", WEIGHT, ignore=("model.99",))
