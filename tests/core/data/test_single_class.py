"""A dataset of one class has what Ultralytics' ``single_cls`` makes of the data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hostile_kit import content_of
from retraining_kit import make_dataset
from ultralytics.utils import DEFAULT_CFG

from prunebench.data.check import check_dataset
from prunebench.data.dataset import Dataset, dataset_digest, image_names, read_dataset
from prunebench.data.single_class import as_one_class
from prunebench.variants.retraining.every_image import EveryImage


def one_of(dataset: Dataset, cache_dir: Path) -> Dataset:
    return as_one_class(dataset, "item", dataset_digest(dataset), cache_dir)


@pytest.mark.parametrize("polygons", [False, True])
def test_labels_are_those_of_a_training_with_single_cls(tmp_path: Path, polygons: bool) -> None:
    given = read_dataset(make_dataset(tmp_path / "data", polygons=polygons))
    (tmp_path / "data" / "labels" / "train" / "2.txt").unlink()
    before = content_of(tmp_path / "data")
    made = one_of(given, tmp_path / "cache")
    check_dataset(made, class_names={0: "item"})

    def read(dataset: Dataset, single_cls: bool) -> EveryImage:
        task = "segment" if polygons else "detect"
        data = {"nc": len(dataset.names), "names": dataset.names, "channels": 3}
        images = image_names(dataset, "train")
        named = {"single_cls": single_cls, "hyp": DEFAULT_CFG, "imgsz": 32, "augment": False}
        kept = {"cache": "ram", "cached_in": tmp_path / "decoded"}
        return EveryImage(images, data=data, task=task, **named, **kept)

    pairs = zip(read(given, True).labels, read(made, False).labels, strict=True)
    for theirs, ours in pairs:
        assert Path(ours["im_file"]).read_bytes() == Path(theirs["im_file"]).read_bytes()
        for part in ("cls", "bboxes"):
            np.testing.assert_array_equal(ours[part], theirs[part])
        np.testing.assert_array_equal(ours["segments"], theirs["segments"])
    assert content_of(tmp_path / "data") == before


def test_it_is_made_once_and_anew_where_the_data_changed(tmp_path: Path) -> None:
    given = read_dataset(make_dataset(tmp_path / "data"))
    first, again = (one_of(given, tmp_path / "cache") for _ in range(2))
    assert first == again
    label = tmp_path / "data" / "labels" / "train" / "0.txt"
    label.write_text("1 0.5 0.5 0.25 0.25\n")
    changed = one_of(read_dataset(given.yaml), tmp_path / "cache")
    assert changed != first
    assert dataset_digest(changed) != dataset_digest(first)
    (written,) = (changed.root / "labels" / "train").glob("*-0.txt")
    assert written.read_text() == "0 0.5 0.5 0.25 0.25\n"


def test_images_of_one_name_stay_apart_and_in_order(tmp_path: Path) -> None:
    yaml = make_dataset(tmp_path / "data")
    for folder in ("b", "a"):
        (tmp_path / "data" / "images" / "train" / folder).mkdir()
        source = tmp_path / "data" / "images" / "train" / "1.png"
        (source.parent / folder / "1.png").write_bytes(source.read_bytes() + folder.encode())
    given = read_dataset(yaml)
    made = one_of(given, tmp_path / "cache")
    links = [Path(image).resolve() for image in image_names(made, "train")]
    assert links == [Path(image) for image in image_names(given, "train")]
    assert len(links) == 8


def test_keypoints_stay_what_they_are(tmp_path: Path) -> None:
    path = make_dataset(tmp_path / "data")
    for file in (tmp_path / "data" / "labels").rglob("*.txt"):
        file.write_text("1 0.5 0.5 0.2 0.4 0.4 0.3 2 0 0 0\n", encoding="utf-8")
    keys = "kpt_shape: [2, 3]\nkpt_oks_sigmas: [0.1, 0.2]\nflip_idx: [1, 0]\n"
    path.write_text(path.read_text(encoding="utf-8") + keys, encoding="utf-8")
    given = read_dataset(path)
    made = one_of(given, tmp_path / "cache")
    assert (made.keypoints, made.sigmas) == (given.keypoints, given.sigmas)
    assert made.about_keypoints == given.about_keypoints
    check_dataset(made, task="pose", keypoints=(2, 3))
