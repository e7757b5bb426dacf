"""What a training multiplies in: every precision comes to the same loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from retraining_kit import make_dataset, make_network

from prunebench.config.sections import Precision
from prunebench.config.strategy_settings import SparseSettings
from prunebench.variants.retraining.arithmetic import train_in
from prunebench.variants.retraining.sparse import Regularise
from prunebench.variants.retraining.trainers import preserving_trainer

TOLERANCES = {"float32": 2.0**-16, "bfloat16": 2.0**-6}
"""How far sums may move: numbers above 1 are 2^-23 and 2^-8 apart."""


@pytest.fixture(scope="module", params=["detect", "segment", "distilled", "sparse"])
def task(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def trained(task: str, folder: Path, precision: Precision | None) -> tuple[Any, set[torch.dtype]]:
    """The trainer after two epochs (``None``: Ultralytics' own), and what layers handed on."""
    from ultralytics.models.yolo.model import YOLO

    kind = "segment" if task == "segment" else "detect"
    data_yaml = make_dataset(folder / "data", polygons=kind == "segment")
    model: Any = YOLO(make_network(folder / "pruned.pt", pruned=True, task=kind))
    seen: set[torch.dtype] = set()
    own: dict[str, Any] = {}
    if task == "distilled":
        own["distill_model"] = str(make_network(folder / "teacher.pt"))

    def note(layer: Any, _: Any, result: torch.Tensor) -> None:
        if layer.training:  # No copy that is only traced.
            seen.add(result.dtype)

    def set_up(trainer: Any) -> None:
        if precision is not None:
            train_in(precision, trainer)
        for layer in trainer.model.modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.register_forward_hook(note)

    model.add_callback("on_pretrain_routine_end", set_up)
    if task == "sparse":
        model.add_callback("on_train_start", Regularise(SparseSettings(kind="group_lasso")))
    model.train(
        trainer=preserving_trainer(kind),
        data=str(data_yaml),
        epochs=2,
        imgsz=32,
        batch=3,
        nbs=3,
        optimizer="SGD",
        device="cpu",
        amp=False,
        plots=False,
        cls_remap=False,
        project=str(folder),
        name="run",
        **own,
    )
    return model.trainer, seen


@pytest.fixture(scope="module")
def plain(task: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return trained(task, tmp_path_factory.mktemp("plain"), None)[0]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_comes_to_the_loss_of_plain_training(
    task: str, plain: Any, precision: Precision, tmp_path: Path
) -> None:
    trainer, seen = trained(task, tmp_path, precision)
    assert seen == {getattr(torch, precision)}
    for name, value in plain.tloss.items():
        near = pytest.approx(float(value), rel=TOLERANCES[precision], abs=TOLERANCES[precision])
        assert float(trainer.tloss[name]) == near, name
    kept = trainer.model.state_dict().values()
    assert {t.dtype for t in kept} == {t.dtype for t in plain.model.state_dict().values()}
    saved, before = (
        torch.load(done.last, weights_only=False)["model"].state_dict() for done in (trainer, plain)
    )
    assert [(k, t.dtype, t.shape, t.stride()) for k, t in saved.items()] == [
        (k, t.dtype, t.shape, t.stride()) for k, t in before.items()
    ]
