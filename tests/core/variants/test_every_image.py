"""Trainings read the user's images as they are: all of them, and nothing is written beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_kit import BOX, NAMES, append, make_images, state_of
from retraining_kit import make_dataset, make_network, request

from prunebench.common.errors import DatasetError
from prunebench.data.dataset import image_names, read_dataset
from prunebench.variants.checkpoint import load_checkpoint
from prunebench.variants.retraining.caching import choose_cache
from prunebench.variants.retraining.every_image import EveryImage
from prunebench.variants.retraining.step import run

ARGUMENTS: dict[str, Any] = {"imgsz": 64, "augment": False, "rect": True, "batch_size": 2}


def on_dataset(data_yaml: Path, split: str = "train", **more: Any) -> EveryImage:
    names = image_names(read_dataset(data_yaml), split)  # type: ignore[arg-type]
    own: dict[str, Any] = {"cache": "none", "cached_in": data_yaml.parent.parent / "kept"}
    return EveryImage(names, data={"names": NAMES, "channels": 3}, **ARGUMENTS | own | more)


def make_hostile(root: Path) -> Path:
    """A dataset with what Ultralytics would write anew, remove, or read in place of an image."""
    data_yaml = make_images(root, turned=True, suffix="jpg")
    for split in ("train", "val"):
        append(root / "images" / split / "0.jpg", b"\0\0")
        (root / "images" / split / "1.npy").write_bytes(b"no array")
        (root / "labels" / split / "2.txt").write_text(BOX * 2)
    return data_yaml


@pytest.mark.parametrize("polygons", [False, True])
def test_labels_and_images_are_those_of_ultralytics(polygons: bool, tmp_path: Path) -> None:
    from ultralytics.data.dataset import YOLODataset

    task = "segment" if polygons else "detect"
    data_yaml = make_dataset(tmp_path, polygons=polygons)
    (tmp_path / "labels" / "train" / "1.txt").unlink()
    mine = on_dataset(data_yaml, task=task)
    stock = YOLODataset(
        img_path=str(tmp_path / "images" / "train"),
        data={"names": NAMES, "channels": 3},
        task=task,
        **ARGUMENTS,
    )
    assert mine.im_files == stock.im_files
    assert (mine.batch_shapes == stock.batch_shapes).all()
    for own, other in zip(mine.labels, stock.labels, strict=True):
        assert own.keys() == other.keys()
        for key, value in own.items():
            assert np.array_equal(np.array(value), np.array(other[key])), key
    for index in range(len(mine)):
        assert (mine[index]["img"] == stock[index]["img"]).all()


def test_nothing_is_written_beside_the_images(tmp_path: Path) -> None:
    data_yaml = make_hostile(tmp_path)
    before = state_of(tmp_path)
    dataset = on_dataset(data_yaml, cache="ram")
    assert state_of(tmp_path) == before
    assert [Path(file).name for file in dataset.im_files] == ["0.jpg", "1.jpg", "2.jpg"]
    assert dataset.im_hw0 == [(96, 36)] * 3
    assert [len(label["cls"]) for label in dataset.labels] == [1, 1, 1]


@pytest.mark.parametrize("strategy", ["standard", "preserving"])
def test_a_training_leaves_the_users_folder_as_it_is(strategy: str, tmp_path: Path) -> None:
    data_yaml = make_hostile(tmp_path / "data")
    network = make_network(tmp_path / "network.pt", pruned=True)
    before = state_of(tmp_path / "data")
    result = run(
        request(network, data_yaml, strategy, epochs=1), tmp_path / "work", lambda event: None
    )
    assert result.training.epochs == 1
    assert state_of(tmp_path / "data") == before


def test_two_classes_of_one_name_keep_their_weights(tmp_path: Path) -> None:
    names = {0: "a", 1: "a", 2: "A"}
    data_yaml = make_images(tmp_path / "data", names=names)
    network = make_network(tmp_path / "network.pt", names=names)
    frozen = {"lr0": 1e-12, "weight_decay": 0}
    asked = request(network, data_yaml, "standard", epochs=1, settings=frozen)
    result = run(asked, tmp_path / "work", lambda event: None)
    assert result.structure.names == names
    before = load_checkpoint(network).state_dict()["model.7.cv3.0.2.weight"].float()
    trained = load_checkpoint(tmp_path / "work" / result.checkpoint.path)
    after = trained.state_dict()["model.7.cv3.0.2.weight"].float()
    assert (before - after).abs().max() < 1e-3 < (before[0] - before[1]).abs().max()


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("images/train/2.png", b"", "it cannot be decoded"),
        ("labels/train/2.txt", b"9 0.5 0.5 0.1 0.1\n", "Label class 9 exceeds"),
    ],
)
def test_what_a_training_would_leave_out_is_an_error(
    name: str, content: bytes, why: str, tmp_path: Path
) -> None:
    data_yaml = make_dataset(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=rf"1 image of 6 would be left out.*2\.png \({why}"):
        on_dataset(data_yaml)


@pytest.mark.parametrize(("fraction", "used"), [(0.5, 3), (2, 2), (1.0, 6), (0.01, 1)])
def test_a_share_of_the_images_is_that_of_ultralytics(
    fraction: float, used: int, tmp_path: Path
) -> None:
    from ultralytics.data.dataset import YOLODataset

    mine = on_dataset(make_dataset(tmp_path), fraction=fraction)
    stock = YOLODataset(
        img_path=str(tmp_path / "images" / "train"),
        data={"names": NAMES, "channels": 3},
        fraction=fraction,
        **ARGUMENTS,
    )
    assert mine.im_files == stock.im_files
    assert len(mine) == used


def batches_of(data_yaml: Path, cache: str, folder: Path) -> list[bytes]:
    """What two passes over a dataset with mosaics give, from one seed."""
    import random

    from ultralytics.cfg import get_cfg

    more: dict[str, Any] = {"augment": True, "rect": False, "hyp": get_cfg(), "cached_in": folder}
    dataset = on_dataset(data_yaml, cache=cache, **more)
    assert dataset.kept_in == cache
    random.seed(0)
    np.random.seed(0)
    return [dataset[i]["img"].numpy().tobytes() for _ in range(2) for i in range(len(dataset))]


def test_where_images_are_kept_changes_no_batch_and_no_folder_of_the_users(tmp_path: Path) -> None:
    data_yaml = make_dataset(tmp_path / "data", train=8)
    before = state_of(tmp_path / "data")
    first, *others = (
        batches_of(data_yaml, cache, tmp_path / "kept") for cache in ("ram", "disk", "none", "disk")
    )
    assert all(other == first for other in others)
    assert len(list((tmp_path / "kept").glob("*.npy"))) == 8
    assert state_of(tmp_path / "data") == before


@pytest.mark.parametrize(
    ("asked", "memory", "disk", "kept"),
    [
        ("auto", 400, 0, "ram"),
        ("auto", 299, 6000, "disk"),
        ("auto", 299, 4000, "none"),
        ("ram", 160, 10**6, "ram"),
        ("ram", 149, 10**6, "none"),
        ("disk", 10**6, 2400, "disk"),
        ("disk", 10**6, 2399, "none"),
        ("none", 10**6, 10**6, "none"),
    ],
)
def test_images_are_kept_where_there_is_room(
    asked: str, memory: int, disk: int, kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 20 x 40 pixels are 2,400 bytes whole, and 150 at a longer side of 10.
    module = "prunebench.variants.retraining.caching"
    monkeypatch.setattr(f"{module}.memory_bytes", lambda: memory)
    monkeypatch.setattr(f"{module}.free_bytes", lambda _: disk)
    assert choose_cache(asked, [(20, 40)], 10, tmp_path / "later") == kept
