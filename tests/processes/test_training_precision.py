"""Real trainings in each precision: the structure is kept, after a kill too, and so is the key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from retraining_kit import make_dataset, make_network, request

from prunebench.common.errors import StepError
from prunebench.config.sections import Precision
from prunebench.steps.cache import step_key
from prunebench.steps.events import Event
from prunebench.variants.checkpoint import load_checkpoint
from prunebench.variants.retraining.saved import tensor_shapes
from prunebench.variants.retraining.step import run

PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")


class Killed(Exception):
    """Stands for a kill right after an epoch was saved."""


def kill_after_first_epoch(event: Event) -> None:
    if event.kind == "epoch":
        raise Killed


def ignore(_: Event) -> None:
    pass


@pytest.fixture
def multiplied_in() -> Iterator[set[torch.dtype]]:
    """Types that convolutions handed on while a network trained; empty it between attempts."""
    from ultralytics.nn.modules.conv import Conv

    seen: set[torch.dtype] = set()
    original = Conv.forward

    def note(layer: Any, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = original(layer, x)
        if layer.training and torch.is_grad_enabled():
            seen.add(layer.conv(x).dtype)
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Conv, "forward", note)
        yield seen


@pytest.mark.parametrize("strategy", ["preserving", "standard"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_training_keeps_its_precision_and_its_structure_after_a_kill(
    precision: Precision, strategy: str, tmp_path: Path, multiplied_in: set[torch.dtype]
) -> None:
    data_yaml = make_dataset(tmp_path / "data")
    pruned = make_network(tmp_path / "pruned.pt", pruned=True)
    asked = request(pruned, data_yaml, strategy, precision=precision)
    with pytest.raises(StepError, match="Killed"):
        run(asked, tmp_path / "work", kill_after_first_epoch)
    assert multiplied_in == {getattr(torch, precision)}
    multiplied_in.clear()
    result = run(asked, tmp_path / "work", ignore)
    assert multiplied_in == {getattr(torch, precision)}
    assert (result.training.resumed, result.training.epochs) == (1, 2)
    network = load_checkpoint(tmp_path / "work" / "model.pt")
    kept = tensor_shapes(network) == tensor_shapes(load_checkpoint(pruned))
    assert kept is (strategy == "preserving")
    floats = {t.dtype for t in network.state_dict().values() if t.is_floating_point()}
    assert floats == {torch.float32}, "read back, as from any checkpoint"


def test_a_training_in_another_precision_is_another_training(tmp_path: Path) -> None:
    data_yaml = make_dataset(tmp_path / "data")
    pruned = make_network(tmp_path / "pruned.pt", pruned=True)
    work = tmp_path / "work"
    first, second = (request(pruned, data_yaml, "preserving", precision=p) for p in PRECISIONS)
    keys = {step_key("train", asked, {}) for asked in (first, second)}
    assert len(keys) == 2
    with pytest.raises(StepError, match="Killed"):
        run(first, work, kill_after_first_epoch)
    result = run(second, work, ignore)
    assert (result.training.resumed, result.training.epochs) == (0, 2), "it starts again"
