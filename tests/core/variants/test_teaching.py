"""What a teacher's predictions add to the loss: a law, and the figures of scipy."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import special, stats
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import DEFAULT_CFG_DICT

from prunebench.variants.retraining.arithmetic import keep_loss_in_float32
from prunebench.variants.retraining.teaching import Taught, difference


def outputs(bins: int, seed: int, *, images: int = 2, classes: int = 3, anchors: int = 5) -> Any:
    """Raw outputs of a head, as Ultralytics' ``Detect.forward_head`` has them."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (3 * torch.randn(images, channels, anchors, generator=generator)).requires_grad_()
        for name, channels in {"boxes": 4 * bins, "scores": classes}.items()
    }


@pytest.mark.parametrize("bins", [1, 16])
def test_who_says_what_the_teacher_says_has_nothing_to_learn(bins: int) -> None:
    own, taught = outputs(bins, 0), outputs(bins, 0)
    difference(own, taught, (0.5, 1.5)).backward()
    for each in own.values():
        assert each.grad is not None
        assert each.grad.abs().max() < 1e-6


@pytest.mark.parametrize("bins", [1, 16])
def test_scores_and_boxes_are_those_of_scipy(bins: int) -> None:
    own, taught = outputs(bins, 1), outputs(bins, 2)
    scores, known = (special.expit(each["scores"].detach().numpy()) for each in (own, taught))
    cross = -(known * np.log(scores) + (1 - known) * np.log(1 - scores)).sum()
    seen = known.max(1)
    boxes, others = (
        each["boxes"].detach().numpy().reshape(2, 4, bins, 5) for each in (own, taught)
    )
    if bins == 1:
        apart = np.abs(boxes - others)[:, :, 0]
    else:
        apart = stats.entropy(special.softmax(others, 2), special.softmax(boxes, 2), axis=2)
    expected = (0.5 * cross + 1.5 * (apart.mean(1) * seen).sum()) / seen.sum()
    assert difference(own, taught, (0.5, 1.5)).item() == pytest.approx(expected, rel=1e-4)


def test_an_end_to_end_network_learns_from_both_heads() -> None:
    first, second, taught = (outputs(1, seed) for seed in (1, 2, 3))
    both = difference(
        {"one2many": first, "one2one": second}, {"one2many": taught, "one2one": taught}, (1, 1)
    )
    each = [difference(own, taught, (1, 1)).item() for own in (first, second)]
    assert both.item() == pytest.approx(np.mean(each), rel=1e-6)


def test_a_continued_trainings_criterion_goes_on() -> None:
    network: Any = DetectionModel("yolo26n.yaml", nc=2, verbose=False)
    network.args = SimpleNamespace(**{**DEFAULT_CFG_DICT, "epochs": 10})
    network.criterion = network.init_criterion()
    network.criterion.updates = 3
    keep_loss_in_float32(network)
    taught = Taught(network.criterion, teacher=None, gains=(1, 1), weight=1)
    taught.update()
    assert network.criterion.updates == 4
