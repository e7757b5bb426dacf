"""The baseline: trained from random weights by one function, and the checkpoint that is shipped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prunebench.common.errors import ConfigError
from prunebench.common.records import sha256_of
from prunebench.data.dataset import resolve_dataset
from prunebench.data.scenes import SCENE_NAMES
from prunebench.variants.checkpoint import inspect_checkpoint
from prunebench.variants.retraining.baseline import Request, run, train_baseline

ASSET = Path(__file__).parents[2] / "assets" / "scenes-yolov8n.pt"


@pytest.fixture(scope="module")
def data_yaml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    return resolve_dataset("scenes:train=4,val=2,test=2", cache_dir=folder).yaml


def test_one_epoch_writes_a_checkpoint_and_says_how(data_yaml: Path, tmp_path: Path) -> None:
    events: list[dict[str, object]] = []
    out = tmp_path / "base.pt"
    train_baseline(
        request_for(data_yaml, "yolov8n.yaml"),
        out,
        command="prunebench baseline --epochs 1",
        emit=events.append,
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base.json", "base.pt"]
    info = inspect_checkpoint(out)
    assert info.names == SCENE_NAMES
    assert info.parameters == 3_012_213
    said = json.loads((tmp_path / "base.json").read_text(encoding="utf-8"))
    assert said["sha256"] == sha256_of(out)
    assert said["bytes"] == out.stat().st_size < 7_000_000
    assert said["command"] == "prunebench baseline --epochs 1"
    assert said["settings"]["epochs"] == 1
    assert "metrics/mAP50(B)" in said["validation"]
    assert [event.epoch for event in events if event.kind == "epoch"] == [1]
    machine_path = str(data_yaml.parent).encode()
    assert machine_path not in out.read_bytes()
    assert str(data_yaml.parent) not in (tmp_path / "base.json").read_text(encoding="utf-8")


def request_for(data_yaml: Path, model: str) -> Request:
    return Request(
        model=model, data_yaml=str(data_yaml), epochs=1, imgsz=32, batch=4, image_hw=(64, 96)
    )


def test_the_step_returns_what_a_training_does(data_yaml: Path, tmp_path: Path) -> None:
    result = run(request_for(data_yaml, "yolov8n.yaml"), tmp_path, lambda event: None)
    assert result.checkpoint.holds(tmp_path)
    assert result.structure.parameters == 3_012_213
    assert result.structure.macs_imgsz == (64, 96)
    assert result.training.epochs == 1
    assert result.training.transferred == result.training.tensors


def test_a_model_that_is_no_network_description(data_yaml: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such network description"):
        run(request_for(data_yaml, "absent.yaml"), tmp_path, lambda event: None)


def test_the_shipped_checkpoint_is_the_described_one() -> None:
    said = json.loads(ASSET.with_suffix(".json").read_text(encoding="utf-8"))
    assert said["file"] == ASSET.name
    assert said["sha256"] == sha256_of(ASSET)
    assert said["command"].startswith("prunebench baseline --data scenes ")
    assert 0.80 <= said["validation"]["metrics/mAP50(B)"] <= 0.95
    info = inspect_checkpoint(ASSET)
    assert info.names == SCENE_NAMES
    assert info.parameters == 3_012_213
    assert ASSET.stat().st_size <= 7_000_000
