"""Datasets found by their specification, and every malformed one refused with one sentence."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from prunebench.common.errors import DatasetError
from prunebench.data import dataset as dataset_module
from prunebench.data.check import check_dataset, evaluation_split
from prunebench.data.dataset import (
    dataset_digest,
    images_of,
    read_dataset,
    resolve_dataset,
)
from prunebench.data.file_memo import FileMemo
from prunebench.data.labels import labels_of, read_labels, read_objects

NAMES = {0: "cat", 1: "dog"}


def make_dataset(root: Path, **changes: object) -> Path:
    """Two training images and one validation image, one box each."""
    for split, count in (("train", 2), ("val", 1)):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for index in range(count):
            image = np.full((18, 32, 3), 40 * index, dtype=np.uint8)
            cv2.imwrite(str(root / "images" / split / f"{index}.png"), image)
            label = root / "labels" / split / f"{index}.txt"
            label.write_text(f"{index % 2} 0.5 0.5 0.2 0.4\n", encoding="utf-8")
    content = {"train": "images/train", "val": "images/val", "names": NAMES} | changes
    path = root / "data.yaml"
    path.write_text(
        yaml.safe_dump({key: value for key, value in content.items() if value is not None}),
        encoding="utf-8",
    )
    return path


def set_label(root: Path, text: str, split: str = "val") -> None:
    (root / "labels" / split / "0.txt").write_text(text, encoding="utf-8")


def test_a_good_dataset_passes(tmp_path: Path) -> None:
    dataset = resolve_dataset(str(make_dataset(tmp_path)), cache_dir=tmp_path / "cache")
    check_dataset(dataset, class_names=NAMES)
    assert dataset.names == NAMES
    assert dataset.root == tmp_path
    assert dataset.yaml == tmp_path / "data.yaml"
    assert [path.name for path in images_of(dataset, "train")] == ["0.png", "1.png"]
    assert images_of(dataset, "train", limit=1) == [tmp_path / "images" / "train" / "0.png"]
    assert dataset.test == ()
    assert not (tmp_path / "cache").exists()


def test_ultralytics_agrees_on_paths_and_names(tmp_path: Path) -> None:
    from ultralytics.data.utils import check_det_dataset, img2label_paths

    path = make_dataset(tmp_path / "images" / "deep", val=["images/val"])
    mine, theirs = read_dataset(path), check_det_dataset(str(path), autodownload=False)
    assert mine.names == theirs["names"]
    assert [str(source) for source in mine.train] == [theirs["train"]]
    assert [str(source) for source in mine.val] == theirs["val"]
    images = images_of(mine, "train")
    assert [str(labels_of(image)) for image in images] == img2label_paths(images)
    odd = Path("/a/images/b/images/c.d/e.f.jpeg")
    assert str(labels_of(odd)) == img2label_paths([odd])[0]
    assert labels_of(Path("/a/b/e.jpg")) == Path("/a/b/e.txt")


def test_names_may_be_a_list_or_a_count(tmp_path: Path) -> None:
    assert read_dataset(make_dataset(tmp_path / "a", names=["x", "y"])).names == {0: "x", 1: "y"}
    for number, nc in enumerate((2, "2")):
        counted = read_dataset(make_dataset(tmp_path / f"b{number}", names=None, nc=nc))
        assert counted.names == {0: "class_0", 1: "class_1"}


def test_ids_may_be_text_and_names_need_not_differ(tmp_path: Path) -> None:
    text = read_dataset(make_dataset(tmp_path / "a", names={"1": "ball", "0": "ball"}))
    assert text.names == {0: "ball", 1: "ball"}
    blank = read_dataset(make_dataset(tmp_path / "b", names=["", ".", "-"]))
    check_dataset(blank, class_names={0: "", 1: ".", 2: "-"})


def test_an_image_list_and_a_path_key_work(tmp_path: Path) -> None:
    root = tmp_path / "set"
    path = make_dataset(root, path=str(root), train="train.txt")
    (root / "train.txt").write_text("./images/train/1.png\n\n", encoding="utf-8")
    moved = path.rename(tmp_path / "elsewhere.yaml")
    dataset = read_dataset(moved)
    check_dataset(dataset)
    assert images_of(dataset, "train") == [root / "images" / "train" / "1.png"]


def test_images_without_labels_are_background(tmp_path: Path) -> None:
    path = make_dataset(tmp_path)
    (tmp_path / "labels" / "train" / "1.txt").unlink()
    check_dataset(read_dataset(path))


def test_polygons_become_boxes(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("1 0.1 0.2 0.5 0.2 0.5 0.8 0.1 0.6\n", encoding="utf-8")
    np.testing.assert_allclose(read_labels(file, classes=2), [[1, 0.3, 0.5, 0.4, 0.6]])


def test_a_segmentation_model_needs_polygons(tmp_path: Path) -> None:
    dataset = read_dataset(make_dataset(tmp_path))
    check_dataset(dataset, task="detect")
    message = r"labels.train.0\.txt: the label file holds boxes, but a segmentation model needs"
    with pytest.raises(DatasetError, match=message):
        check_dataset(dataset, task="segment")
    for file in (tmp_path / "labels").rglob("*.txt"):
        file.write_text("0 0.1 0.2 0.5 0.2 0.5 0.8\n\n1 0 0 1 0 1 1 0 1\n", encoding="utf-8")
    check_dataset(dataset, task="segment")
    boxes, polygons = read_objects(file, classes=2, task="segment")
    np.testing.assert_allclose(boxes, [[0, 0.3, 0.5, 0.4, 0.6], [1, 0.5, 0.5, 1, 1]])
    np.testing.assert_allclose(polygons[0], [[0.1, 0.2], [0.5, 0.2], [0.5, 0.8]])
    assert len(polygons[1]) == 4


def test_a_pose_model_needs_keypoints(tmp_path: Path) -> None:
    without = read_dataset(make_dataset(tmp_path / "without"))
    with pytest.raises(DatasetError, match="has no kpt_shape, but a pose model needs keypoints"):
        check_dataset(without, task="pose")
    sigmas = {"kpt_oks_sigmas": [0.1, 0.2], "flip_idx": [1, 0]}
    dataset = read_dataset(make_dataset(tmp_path, kpt_shape=[2, 3], **sigmas))
    assert (dataset.keypoints, dataset.sigmas) == ((2, 3), (0.1, 0.2))
    assert dataset.about_keypoints["flip_idx"] == [1, 0]
    with pytest.raises(DatasetError, match=r"5 columns; write 11 \(class x y width height, and 3"):
        check_dataset(dataset, task="pose")
    for file in (tmp_path / "labels").rglob("*.txt"):
        file.write_text("0 0.5 0.5 0.2 0.4 0.4 0.3 2 0 0 0\n", encoding="utf-8")
    memo = FileMemo()
    for _ in range(2):
        check_dataset(dataset, task="pose", keypoints=(2, 3), memo=memo)
    with pytest.raises(DatasetError, match="2 keypoints of 3 values, the checkpoint 17 keypoints"):
        check_dataset(dataset, task="pose", keypoints=(17, 3))
    boxes, (points,) = read_objects(file, classes=2, task="pose", points=(2, 3))
    np.testing.assert_allclose(boxes, [[0, 0.5, 0.5, 0.2, 0.4]])
    np.testing.assert_allclose(points, [[0.4, 0.3, 2], [0, 0, 0]])
    # As another task's labels, what the memo knows of them does not count.
    with pytest.raises(DatasetError, match="the coordinate 2 lies outside"):
        check_dataset(dataset, task="detect", memo=memo)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"kpt_shape": [17]}, "kpt_shape is no shape of keypoints"),
        ({"kpt_shape": "17x3"}, "kpt_shape is no shape of keypoints"),
        ({"kpt_shape": [2, 3.0]}, "kpt_shape is no shape of keypoints"),
        ({"kpt_shape": [2, 3], "kpt_oks_sigmas": [0.1]}, "kpt_oks_sigmas is not one positive"),
        ({"kpt_shape": [1, 3], "kpt_oks_sigmas": ["wide"]}, "kpt_oks_sigmas is not one positive"),
        ({"kpt_shape": [1, 3], "kpt_oks_sigmas": [math.nan]}, "kpt_oks_sigmas is not one positive"),
        ({"kpt_shape": [2, 3], "flip_idx": [0, 0]}, "flip_idx does not name every keypoint"),
        ({"kpt_shape": [10**12, 3], "flip_idx": [1, 0]}, "flip_idx does not name every keypoint"),
    ],
)
def test_keypoints_are_described(tmp_path: Path, keys: dict[str, Any], problem: str) -> None:
    with pytest.raises(DatasetError, match=problem):
        read_dataset(make_dataset(tmp_path, **keys))


def test_an_oriented_box_model_needs_corners(tmp_path: Path) -> None:
    dataset = read_dataset(make_dataset(tmp_path))
    with pytest.raises(DatasetError, match="an oriented-box model needs the corners of oriented"):
        check_dataset(dataset, task="obb")
    for file in (tmp_path / "labels").rglob("*.txt"):
        file.write_text("0 0.1 0.2 0.5 0.2 0.5 0.8 0.1 0.8\n", encoding="utf-8")
    check_dataset(dataset, task="obb")
    assert read_objects(file, classes=2, task="obb")[1][0].shape == (4, 2)


@pytest.mark.parametrize("split", ["train", "val"])
def test_missing_split(tmp_path: Path, split: str) -> None:
    path = make_dataset(tmp_path, **{split: None})
    with pytest.raises(DatasetError, match=f"no {split} split; add the key {split}"):
        read_dataset(path)


def test_missing_test_split(tmp_path: Path) -> None:
    dataset = read_dataset(make_dataset(tmp_path))
    with pytest.raises(DatasetError, match="no test split"):
        images_of(dataset, "test")
    with pytest.raises(DatasetError, match="no test split"):
        check_dataset(dataset, splits=("train", "val", "test"))


def test_missing_folder(tmp_path: Path) -> None:
    dataset = read_dataset(make_dataset(tmp_path, val="images/absent"))
    with pytest.raises(DatasetError, match="path of the val split does not exist"):
        check_dataset(dataset)


def test_a_test_split_that_was_not_exported_is_needed_only_where_it_is_asked_for(
    tmp_path: Path,
) -> None:
    path = make_dataset(tmp_path, test="images/absent")
    dataset = read_dataset(path)
    found = check_dataset(dataset)
    why = "no image of the test split is there, so accuracy comes from val"
    assert evaluation_split(dataset, found) == ("val", why)
    assert dataset_digest(dataset) == dataset_digest(read_dataset(path))
    with pytest.raises(DatasetError, match="path of the test split does not exist"):
        check_dataset(dataset, splits=("train", "val", "test"))


def test_a_test_split_without_labels_does_not_serve(tmp_path: Path) -> None:
    path = make_dataset(tmp_path, test="images/test")
    (tmp_path / "images" / "test").mkdir()
    image = tmp_path / "images" / "test" / "0.png"
    image.write_bytes((tmp_path / "images" / "val" / "0.png").read_bytes())
    dataset = read_dataset(path)
    assert evaluation_split(dataset, check_dataset(dataset)) == (
        "val",
        "no image of the test split is labelled, so accuracy comes from val",
    )
    (tmp_path / "labels" / "test").mkdir()
    (tmp_path / "labels" / "test" / "0.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    assert evaluation_split(dataset, check_dataset(dataset)) == ("test", None)


def test_the_whole_file_system_is_no_split(tmp_path: Path) -> None:
    dataset = read_dataset(make_dataset(tmp_path, val="/"))
    with pytest.raises(DatasetError, match="path of the val split is all of the file system"):
        check_dataset(dataset)


def test_a_link_that_leads_back_is_not_followed(tmp_path: Path) -> None:
    path = make_dataset(tmp_path)
    (tmp_path / "images" / "train" / "back").symlink_to(tmp_path / "images")
    assert len(images_of(read_dataset(path), "train")) == 2


@pytest.mark.parametrize("entry", ["a\0b", "x" * 5000, "~nobody/x"])
def test_a_path_that_cannot_be_followed(tmp_path: Path, entry: str) -> None:
    with pytest.raises(DatasetError, match=r"cannot be followed|does not exist"):
        check_dataset(read_dataset(make_dataset(tmp_path, val=entry)))


def test_a_list_of_images_that_is_no_text(tmp_path: Path) -> None:
    path = make_dataset(tmp_path, val="val.txt")
    (tmp_path / "val.txt").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(DatasetError, match=r"val\.txt: the list of images cannot be read"):
        check_dataset(read_dataset(path))
    (tmp_path / "val.txt").write_bytes(b"images/val/\0.png\n" + b"x" * 5000 + b".png\n")
    with pytest.raises(DatasetError, match="2 images cannot be used"):
        check_dataset(read_dataset(path))


@pytest.mark.parametrize("nc", [10**20, float("inf"), "many"])
def test_a_count_of_classes_that_is_none(tmp_path: Path, nc: object) -> None:
    with pytest.raises(DatasetError, match="no class names"):
        read_dataset(make_dataset(tmp_path, names=None, nc=nc))


def test_folder_without_images(tmp_path: Path) -> None:
    path = make_dataset(tmp_path)
    (tmp_path / "images" / "val" / "0.png").rename(tmp_path / "images" / "val" / "0.doc")
    with pytest.raises(DatasetError, match="val split has no images"):
        check_dataset(read_dataset(path))


def test_listed_image_that_does_not_exist(tmp_path: Path) -> None:
    path = make_dataset(tmp_path, val="val.txt")
    (tmp_path / "val.txt").write_text("./images/val/9.png\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"cannot be used: \S+9\.png does not exist"):
        check_dataset(read_dataset(path))


def test_empty_image_file(tmp_path: Path) -> None:
    path = make_dataset(tmp_path)
    (tmp_path / "images" / "val" / "0.png").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"1 image cannot be used: \S+0\.png is empty"):
        check_dataset(read_dataset(path))


@pytest.mark.parametrize("text", [None, "", "\n \n"])
def test_no_labelled_validation_image(tmp_path: Path, text: str | None) -> None:
    path = make_dataset(tmp_path)
    if text is None:
        (tmp_path / "labels" / "val" / "0.txt").unlink()
    else:
        set_label(tmp_path, text)
    with pytest.raises(DatasetError, match="val split has no labelled image"):
        check_dataset(read_dataset(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2 0.5 0.5 0.1 0.1", r"class id 2 is out of range 0\.\.1"),
        ("-1 0.5 0.5 0.1 0.1", "class id -1 is out of range"),
        ("0.5 0.5 0.5 0.1 0.1", r"class id 0\.5 is out of range"),
        ("nan 0.5 0.5 0.1 0.1", "class id nan is out of range"),
        ("cat 0.5 0.5 0.1 0.1", "not made of numbers"),
        ("0 0.5 0.5 0.1", "has 4 columns"),
        ("0 0.5 0.5 0.1 0.1 0.9", "has 6 columns"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "has 8 columns"),
        ("0 160 90 30 30", "coordinate 160 lies outside 0..1"),
        ("0 0.5 nan 0.1 0.1", "coordinate nan lies outside"),
        ("0 0.5 0.5 -0.005 0.1", "coordinate -0.005 lies outside"),
        ("0 0.5 0.5 0.1 0.1\n0 0.1 0.1 0.2 0.2 0.3 0.3", "mixes boxes and polygons"),
    ],
)
def test_bad_label(tmp_path: Path, text: str, message: str) -> None:
    path = make_dataset(tmp_path)
    set_label(tmp_path, text)
    with pytest.raises(DatasetError, match=message) as caught:
        check_dataset(read_dataset(path))
    assert str(tmp_path / "labels" / "val" / "0.txt") in str(caught.value)


def test_bad_label_says_its_line(tmp_path: Path) -> None:
    path = make_dataset(tmp_path)
    set_label(tmp_path, "0 0.5 0.5 0.1 0.1\n\n7 0.5 0.5 0.1 0.1\n", split="train")
    with pytest.raises(DatasetError, match=r"0\.txt, line 3: class id 7"):
        check_dataset(read_dataset(path))


def test_label_file_that_is_no_text(tmp_path: Path) -> None:
    path = make_dataset(tmp_path)
    (tmp_path / "labels" / "val" / "0.txt").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(DatasetError, match="label file cannot be read"):
        check_dataset(read_dataset(path))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({0: "cat"}, "the dataset has 2 classes, the checkpoint 1"),
        ({0: "cat", 1: "wolf"}, "class 1 is 'dog' here but 'wolf' in the checkpoint"),
        ({0: "dog", 1: "cat"}, "class 0 is 'cat' here but 'dog'"),
    ],
)
def test_names_that_disagree(tmp_path: Path, names: dict[int, str], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        check_dataset(read_dataset(make_dataset(tmp_path)), class_names=names)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": None}, "no class names"),
        ({"names": []}, "no class names"),
        ({"names": {0: "a", 2: "b"}}, "not 0, 1, 2"),
        ({"names": {"0": "a", "2": "b"}}, "not 0, 1, 2"),
        ({"nc": 5}, "nc is 5 but names has 2"),
        ({"train": {"a": "b"}}, "neither a path nor a list"),
        ({"train": [1]}, "neither a path nor a list"),
    ],
)
def test_bad_yaml_values(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_dataset(make_dataset(tmp_path, **changes))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"train: [a\nval: b", "no valid YAML at line 2"),
        (b"", "holds no keys"),
        (b"- a\n", "holds no keys"),
        (b"\xff\xfe\x00\xd8", "cannot be read"),
    ],
)
def test_file_that_is_no_data_yaml(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "data.yaml"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        resolve_dataset(str(path), cache_dir=tmp_path / "cache")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("absent/data.yaml", "no such data YAML; check the path"),
        ("coco9.yaml", r"no such data YAML; did you mean coco"),
        ("scene", "did you mean scenes"),
        (".", "the dataset is a folder; give its data YAML"),
        ("scenes:trian=3", "unknown parameter trian; use train"),
        ("scenes:train=many", "train is no whole number: many"),
        ("scenes:train=0", "train=0 is no number of images"),
        ("scenes-seg:trian=3", "scenes-seg:trian=3: unknown parameter trian; use train"),
    ],
)
def test_unknown_specification(tmp_path: Path, spec: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        resolve_dataset(spec, cache_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_scenes_with_parameters(tmp_path: Path) -> None:
    dataset = resolve_dataset("scenes:train=2,val=1,test=1,seed=5", cache_dir=tmp_path)
    check_dataset(dataset, splits=("train", "val", "test"))
    assert [len(images_of(dataset, split)) for split in dataset_module.SPLITS] == [2, 1, 1]
    again = resolve_dataset("scenes:seed=5,test=1,val=1,train=2", cache_dir=tmp_path)
    assert again == dataset
    other = resolve_dataset("scenes:train=2,val=1,test=1,seed=6", cache_dir=tmp_path)
    assert other.root != dataset.root


def test_scenes_for_segmentation_are_the_same_scenes(tmp_path: Path) -> None:
    parameters = "train=2,val=1,test=1"
    boxes = resolve_dataset(f"scenes:{parameters}", cache_dir=tmp_path)
    outlines = resolve_dataset(f"scenes-seg:{parameters}", cache_dir=tmp_path)
    check_dataset(outlines, splits=("train", "val", "test"), task="segment")
    pairs = zip(images_of(boxes, "train"), images_of(outlines, "train"), strict=True)
    for image, other in pairs:
        assert image.read_bytes() == other.read_bytes()
        expected = read_labels(labels_of(image), classes=7)
        found = read_labels(labels_of(other), classes=7)
        assert np.array_equal(found[:, 0], expected[:, 0])
        # An outline runs through the middles of the outermost pixels, a box around them.
        pixels = (found - expected)[:, 1:] * (320, 180, 320, 180)
        np.testing.assert_allclose(pixels, np.tile([0, 0, -1, -1], (len(found), 1)), atol=1e-3)


def test_a_dataset_ultralytics_knows_is_loaded_by_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The download itself needs the network; here its result lies on the disk already."""
    import ultralytics.utils
    from ultralytics.utils import checks

    def asked(*_: object, **__: object) -> None:
        raise AssertionError("it asked the network for a font")

    monkeypatch.setattr(checks, "USER_CONFIG_DIR", tmp_path)
    monkeypatch.setattr(checks.downloads, "is_url", asked)
    make_dataset(tmp_path / "datasets" / "coco8")
    monkeypatch.setattr(ultralytics.utils, "DATASETS_DIR", tmp_path / "datasets")
    dataset = resolve_dataset("coco8", cache_dir=tmp_path / "cache")
    assert len(dataset.names) == 80
    assert dataset.root == tmp_path / "datasets" / "coco8"
    assert len(images_of(dataset, "val")) == 1
    check_dataset(dataset)


def test_a_failing_download_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ultralytics.utils
    from ultralytics.data import utils

    home = tmp_path / "made for it" / "datasets"

    def offline(*_: object, **__: object) -> None:
        (home / "coco8" / "images").mkdir(parents=True)
        (home / "coco8" / "half.zip").write_bytes(b"half")
        raise ConnectionError("Download failure\nwith a second line")

    for module in (utils, ultralytics.utils):
        monkeypatch.setattr(module, "DATASETS_DIR", home)
    monkeypatch.setattr(utils, "safe_download", offline)
    with pytest.raises(DatasetError) as caught:
        resolve_dataset("coco8.yaml", cache_dir=tmp_path / "cache")
    assert str(caught.value) == (
        "coco8.yaml: Ultralytics could not load the dataset (Download failure); "
        "check the network, or give the path of a data YAML."
    )
    assert not any(tmp_path.iterdir())


def test_a_set_that_a_script_downloads_leaves_nothing_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ultralytics.utils
    from ultralytics.data import utils

    for module in (utils, ultralytics.utils):
        monkeypatch.setattr(module, "DATASETS_DIR", tmp_path / "made for it" / "datasets")
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(DatasetError, match=r"VOC\.yaml: Ultralytics could not load the dataset"):
        resolve_dataset("VOC", cache_dir=tmp_path / "cache")
    assert not any(tmp_path.iterdir())


def test_digest_follows_content_not_place(tmp_path: Path) -> None:
    first, second = make_dataset(tmp_path / "a"), make_dataset(tmp_path / "b")
    digest = dataset_digest(read_dataset(first))
    assert dataset_digest(read_dataset(second)) == digest
    (tmp_path / "b" / "labels" / "train.cache").write_bytes(b"Ultralytics")
    assert dataset_digest(read_dataset(second)) == digest
    set_label(tmp_path / "b", "0 0.5 0.5 0.2 0.5\n")
    changed_label = dataset_digest(read_dataset(second))
    cv2.imwrite(str(tmp_path / "b" / "images" / "val" / "0.png"), np.ones((18, 32, 3), np.uint8))
    changed_image = dataset_digest(read_dataset(second))
    (tmp_path / "b" / "labels" / "train" / "1.txt").unlink()
    removed_label = dataset_digest(read_dataset(second))
    assert len({digest, changed_label, changed_image, removed_label}) == 4


def test_importing_the_data_modules_imports_neither_torch_nor_ultralytics() -> None:
    code = (
        "import sys, prunebench.data.dataset; "
        "sys.exit(bool({'torch', 'ultralytics'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 6), *(st.floats(0, 1).map(lambda v: round(v, 6)) for _ in range(4))
        ),
        max_size=5,
    )
)
def test_every_valid_box_is_read_back(rows: list[tuple[int, float, float, float, float]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.txt"
        file.write_text("".join(f"{' '.join(map(str, row))}\n" for row in rows), encoding="utf-8")
        read = read_labels(file, classes=7)
    np.testing.assert_array_equal(read, np.array(rows, dtype=float).reshape(-1, 5))
