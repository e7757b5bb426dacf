"""Folders of class folders, as Ultralytics takes them for classification."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from ultralytics.data.utils import check_cls_dataset

from prunebench.common.errors import DatasetError
from prunebench.data.check import check_dataset, evaluation_split, leave_out
from prunebench.data.dataset import Dataset, dataset_digest, images_of, resolve_dataset
from prunebench.data.labels import objects_of
from prunebench.data.scenes import SCENE_NAMES, generate_scenes


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "scenes"
    generate_scenes(root, train=12, val=6, test=4, width=96, height=64, labels="classes")
    return root


@pytest.fixture
def folder(scenes: Path, tmp_path: Path) -> Path:
    """A user's own folder: nothing of ours in it."""
    copy = tmp_path / "mine"
    for split in ("train", "val", "test"):
        shutil.copytree(scenes / split, copy / split)
    return copy


def resolved(folder: Path) -> Dataset:
    return resolve_dataset(str(folder), cache_dir=folder.parent / "cache")


def test_it_is_what_ultralytics_sees(folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    dataset, theirs = resolved(folder), check_cls_dataset(folder)
    assert dataset.class_folders
    assert dataset.names == theirs["names"] == dict(enumerate(sorted(SCENE_NAMES.values())))
    for split, count in (("train", 12), ("val", 6), ("test", 4)):
        images = images_of(dataset, split)
        assert len(images) == count
        assert {image.parents[1] for image in images} == {theirs[split]}
        for image in images:
            rows, _ = objects_of(image, dataset.names, task="classify")
            assert dataset.names[int(rows[0, 0])] == image.parent.name
    found = check_dataset(dataset, task="classify", class_names=theirs["names"])
    assert found.labelled == {"train": 12, "val": 6, "test": 4}
    assert evaluation_split(dataset, found) == ("test", None)
    assert sorted(folder.rglob("*")) == before


def test_its_digest_is_of_its_images_wherever_they_lie(folder: Path, tmp_path: Path) -> None:
    first = dataset_digest(resolved(folder))
    moved = folder.rename(tmp_path / "moved")
    assert dataset_digest(resolved(moved)) == first
    image = images_of(resolved(moved), "train")[0]
    other = next(path for path in (moved / "train").iterdir() if path != image.parent)
    image.rename(other / image.name)
    assert dataset_digest(resolved(moved)) != first


def test_bad_images_are_left_out_by_links(folder: Path, tmp_path: Path) -> None:
    dataset = resolved(folder)
    bad = images_of(dataset, "train")[3]
    bad.write_bytes(b"")
    with pytest.raises(DatasetError, match="1 image cannot be used"):
        check_dataset(resolved(folder), task="classify")
    found = check_dataset(dataset, task="classify", bad_images="skip")
    left = leave_out(dataset, found.flawed, tmp_path / "cache")
    assert left.names == dataset.names
    assert left.class_folders
    kept = [image for image in images_of(dataset, "train") if image != bad]
    assert [image.resolve() for image in images_of(left, "train")] == kept
    assert check_dataset(left, task="classify").labelled["train"] == 11


def test_a_split_of_bad_images_alone_is_refused(folder: Path) -> None:
    for image in images_of(resolved(folder), "val"):
        image.write_bytes(b"bad")
    with pytest.raises(DatasetError, match="no image of the val split can be used; put some into"):
        check_dataset(resolved(folder), task="classify", bad_images="skip")


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ("train/ball/deeper", "images lie in a folder within that of the class ball"),
        ("val/unknown", "images of the split lie in unknown, which is no class of train"),
        ("val", "images of the split lie in it, which is no class of train"),
    ],
)
def test_an_image_in_no_class_is_refused(folder: Path, place: str, problem: str) -> None:
    image = images_of(resolved(folder), "test")[0]
    (folder / place).mkdir(parents=True, exist_ok=True)
    shutil.copy(image, folder / place / "image.jpg")
    with pytest.raises(DatasetError, match=problem):
        check_dataset(resolved(folder), task="classify")


def test_what_is_missing_is_named(folder: Path) -> None:
    shutil.rmtree(folder / "val")
    with pytest.raises(DatasetError, match="the dataset has no folder val"):
        resolved(folder)
    (folder / "train").rename(folder / "images")
    with pytest.raises(DatasetError, match="a folder of each class in train and val"):
        resolved(folder)


def test_other_classes_are_refused_by_the_users_own_folder(folder: Path) -> None:
    names = dict(enumerate(sorted(SCENE_NAMES.values(), reverse=True)))
    with pytest.raises(DatasetError, match="class 0 is 'ball' here but 'star'") as refused:
        check_dataset(resolved(folder), task="classify", class_names=names)
    assert str(refused.value).startswith(f"{folder}: ")


def test_objects_by_split_are_no_classes(folder: Path) -> None:
    for kind in ("images", "labels"):
        (folder / "train" / kind).mkdir()
    with pytest.raises(DatasetError, match="the dataset is a folder; give its data YAML"):
        resolved(folder)


def test_a_scene_of_a_class_is_the_same_whatever_else_is_made(scenes: Path, tmp_path: Path) -> None:
    generate_scenes(tmp_path / "s", train=3, val=2, test=1, width=96, height=64, labels="classes")
    for image in (tmp_path / "s").rglob("*.jpg"):
        twin = scenes / image.relative_to(tmp_path / "s")
        assert twin.read_bytes() == image.read_bytes()
