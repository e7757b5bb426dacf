"""The trainers by themselves, as plain Ultralytics code uses them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from retraining_kit import make_dataset, make_network

from prunebench.common.errors import CheckpointError
from prunebench.variants.retraining.saved import read_saved, tensor_shapes
from prunebench.variants.retraining.trainers import preserving_trainer


@pytest.mark.parametrize("task", ["detect", "segment"])
def test_they_keep_the_structure_in_plain_ultralytics_code(task: str, tmp_path: Path) -> None:
    from ultralytics.models.yolo.model import YOLO
    from ultralytics.nn.tasks import load_checkpoint

    data_yaml = make_dataset(tmp_path / "data", polygons=task == "segment")
    checkpoint = make_network(tmp_path / "pruned.pt", pruned=True, task=task)
    model: Any = YOLO(checkpoint)
    expected = tensor_shapes(model.model)
    model.train(
        trainer=preserving_trainer(task),
        data=str(data_yaml),
        epochs=1,
        imgsz=32,
        batch=3,
        optimizer="SGD",
        device="cpu",
        amp=True,  # Ultralytics has mixed precision on a GPU only and switches it off here.
        plots=False,
        project=str(tmp_path),
        name="run",
    )
    assert not model.trainer.amp
    assert tensor_shapes(model.model) == expected
    last = tmp_path / "run" / "weights" / "last.pt"
    network, _ = load_checkpoint(last)
    assert tensor_shapes(network) == expected


def test_there_is_none_for_other_tasks() -> None:
    with pytest.raises(CheckpointError, match="depth"):
        preserving_trainer("depth")


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 half a file"])
def test_a_damaged_file_is_not_read_as_saved(damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    path.write_bytes(damage)
    with pytest.raises(CheckpointError, match="cannot be read back"):
        read_saved(path)
