"""The first configuration: what it says of the model and the data, and that it can be run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from dataset_kit import cut, make_images
from hostile_kit import checkpoint, good_data, other_network

from prunebench.cli import app
from prunebench.common.errors import DatasetError, InputError
from prunebench.config.loading import load_config
from prunebench.data.scenes import generate_scenes
from prunebench.experiment.first_config import first_config, letterbox_for
from prunebench.experiment.plan import plan_variants
from tests.conftest import ASSET


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_scenes(tmp_path_factory.mktemp("scenes"), train=4, val=3, test=2)


@pytest.mark.parametrize(
    ("typical", "side", "expected"),
    [
        ((320, 180), 320, (192, 320)),
        ((180, 320), 320, (320, 192)),
        ((1920, 1080), 640, (384, 640)),
        ((500, 500), 320, (320, 320)),
        ((4000, 20), 320, (32, 320)),
    ],
)
def test_the_letterbox_keeps_the_shape_of_the_images(
    typical: tuple[int, int], side: int, expected: tuple[int, int]
) -> None:
    assert letterbox_for(typical, side) == expected


def test_the_command_writes_what_it_saw_and_what_runs(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    command = ["init", "--model", str(ASSET), "--data", str(scenes), "--file", str(file)]
    app(command, standalone_mode=False)
    text = file.read_text(encoding="utf-8")
    assert "detect, 7 classes; unpruned, yolov8n, 7 classes, 3,012,213 parameters" in text
    assert "trained at 160 pixels for 60 epochs" in text
    size = "The longer side of `image` is the size the model was trained at, 160 pixels: another "
    assert f"# {size}size costs accuracy." in text
    assert f"{size}size costs accuracy." in capsys.readouterr().err
    assert "4 train, 3 val, 2 test; typically 320 x 180 (W x H), all of one shape" in text
    config = load_config(file, environ={})
    assert config.name == "scenes-yolov8n"
    assert (config.model, config.data) == (str(ASSET), str(scenes))
    assert config.image.hw == (96, 160)
    assert (config.retrain.epochs, config.retrain.imgsz) == (12, 160)
    assert config.accuracy.split == "test"
    assert len(plan_variants(config)) == 8
    with pytest.raises(InputError, match=r"exists already; choose another with --file"):
        app(command, standalone_mode=False)
    assert file.read_text(encoding="utf-8") == text


def test_a_network_that_is_trained_first_follows_the_images(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for part in ("images", "labels"):
            (tmp_path / part / split).mkdir(parents=True)
        for index, hw in enumerate(((90, 60), (90, 60), (80, 80))):
            stem = f"{index}"
            cv2.imwrite(str(tmp_path / "images" / split / f"{stem}.png"), np.zeros((*hw, 3)))
            (tmp_path / "labels" / split / f"{stem}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    data = tmp_path / "data.yaml"
    data.write_text(yaml.safe_dump({"train": "images/train", "val": "images/val", "names": ["a"]}))
    text = first_config("yolov8n.yaml", str(data), file="mine.yaml", cache_dir=tmp_path)
    values = yaml.safe_load(text)
    assert values["image"] == {"height": 96, "width": 64}
    assert values["retrain"]["imgsz"] == 96
    assert values["accuracy"]["split"] == "val"
    assert "of several shapes" in text
    assert "trained from random weights first" in text


def test_data_of_other_classes_are_refused(scenes: Path, tmp_path: Path) -> None:
    other = yaml.safe_load(scenes.read_text(encoding="utf-8"))
    other["path"] = str(scenes.parent)
    other["names"][0] = "something else"
    file = tmp_path / "other.yaml"
    file.write_text(yaml.safe_dump(other))
    with pytest.raises(DatasetError, match="'something else' here"):
        first_config(str(ASSET), str(file), file="mine.yaml", cache_dir=tmp_path)


@pytest.mark.parametrize("turned", [False, True])
def test_the_letterbox_follows_the_images_as_they_are_shown(turned: bool, tmp_path: Path) -> None:
    data = make_images(tmp_path / "data", turned=turned, suffix="jpg")
    text = first_config("yolov8n.yaml", str(data), file="mine.yaml", cache_dir=tmp_path)
    sides = yaml.safe_load(text)["image"]
    assert (sides["height"], sides["width"]) == ((96, 64) if turned else (64, 96))
    assert f"typically {'36 x 96' if turned else '96 x 36'} (W x H)" in text


def test_what_cannot_be_used_is_written_down(tmp_path: Path) -> None:
    data = make_images(tmp_path / "data", suffix="jpg", test="images/nowhere")
    cut(tmp_path / "data" / "images" / "train" / "1.jpg", 400)
    text = first_config("yolov8n.yaml", str(data), file="mine.yaml", cache_dir=tmp_path)
    assert "# 1 image cannot be used: images/train/1.jpg cannot be decoded." in text
    assert "no image of the test split is there, so accuracy comes from val" in text
    values = yaml.safe_load(text)
    assert values["bad_images"] == "refuse"
    assert values["accuracy"]["split"] == "val"
    assert "Images: 2 train, 3 val" in text


def test_the_classes_of_the_data_are_one_to_a_model_trained_so(tmp_path: Path) -> None:
    def single(network: Any, content: dict[str, Any]) -> None:
        content["model"] = other_network(names=("item",)).half()
        content["train_args"]["single_cls"] = True

    data = str(good_data(tmp_path / "data"))
    model = checkpoint(single)(tmp_path)
    text = first_config(str(model), data, file="mine.yaml", cache_dir=tmp_path)
    assert "# The model was trained so: the 7 classes of the data are one to it." in text
    assert yaml.safe_load(text)["single_cls"] is True
    text = first_config(str(checkpoint()(tmp_path)), data, file="mine.yaml", cache_dir=tmp_path)
    assert "single_cls" not in text
