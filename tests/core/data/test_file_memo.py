"""Files of a dataset are read once, and again where they changed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prunebench.common.errors import DatasetError
from prunebench.data import dataset as dataset_module
from prunebench.data.check import check_dataset
from prunebench.data.dataset import dataset_digest, images_of, read_dataset
from prunebench.data.file_memo import TICK_NS, remembering
from prunebench.data.scenes import generate_scenes

IMAGES = 200
LONG_AGO = time.time_ns() - 10 * TICK_NS

START = """
import sys
from pathlib import Path
from prunebench.data.check import check_dataset
from prunebench.data.dataset import dataset_digest, read_dataset
from prunebench.data.file_memo import remembering
dataset = read_dataset(Path(sys.argv[1]))
with remembering(dataset.yaml, Path(sys.argv[2])) as memo:
    check_dataset(dataset, memo=memo)
    print(dataset_digest(dataset, memo))
"""


def picture(pixels: bytes) -> bytes:
    """An image file that begins with its header and these pixels."""
    return b"P5 10 10 255\n" + pixels.ljust(100)


@pytest.fixture
def data_yaml(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for index in range(IMAGES // 2):
            (root / "images" / split / f"{index}.jpg").write_bytes(picture(b"image %d" % index))
            (root / "labels" / split / f"{index}.txt").write_text(f"{index % 2} 0.5 0.5 0.1 0.1\n")
    path = root / "data.yaml"
    path.write_text("train: images/train\nval: images/val\nnames: [cat, dog]\n")
    for file in root.rglob("*"):
        os.utime(file, ns=(LONG_AGO, LONG_AGO))
    return path


def start(data_yaml: Path, *, task: str | None = None) -> str:
    """Check and digest a dataset as a run does, with what the last start left."""
    dataset = read_dataset(data_yaml)
    with remembering(dataset.yaml, data_yaml.parents[1] / "cache") as memo:
        check_dataset(dataset, task=task, memo=memo)
        return dataset_digest(dataset, memo)


def changed_unseen(file: Path, content: bytes) -> None:
    """Write other content of the same size and keep the time and the inode."""
    before = file.stat()
    with file.open("r+b") as stream:
        stream.write(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = file.stat()
    assert (after.st_size, after.st_ino) == (before.st_size, before.st_ino)


@pytest.mark.parametrize("kind", ["images/train/7.jpg", "labels/val/7.txt", "data.yaml"])
def test_a_file_is_read_again_where_its_time_changed_only(data_yaml: Path, kind: str) -> None:
    plain = dataset_digest(read_dataset(data_yaml))
    assert start(data_yaml) == plain
    file = data_yaml.parent / kind
    content = file.read_bytes()
    for old, new in ((b"image 7", b"IMAGE 7"), (b"0.5", b"0.6"), (b"cat", b"cow")):
        content = content.replace(old, new)
    changed_unseen(file, content)
    assert dataset_digest(read_dataset(data_yaml)) != plain
    assert start(data_yaml) == plain, "it was read again"
    os.utime(file, ns=(LONG_AGO + 1, LONG_AGO + 1))
    assert start(data_yaml) == dataset_digest(read_dataset(data_yaml)) != plain


def test_no_file_is_read_where_nothing_changed(data_yaml: Path) -> None:
    first = start(data_yaml)
    for file in data_yaml.parent.rglob("*.*"):
        if file != data_yaml:
            changed_unseen(file, bytes(file.stat().st_size))
    assert start(data_yaml) == first
    for file in data_yaml.parent.rglob("*.*"):
        os.utime(file)
    with pytest.raises(DatasetError, match="not made of numbers"):
        start(data_yaml)


@pytest.mark.parametrize("change", ["size", "inode", "removed", "added"])
def test_every_other_change_is_noticed(data_yaml: Path, change: str) -> None:
    first = start(data_yaml)
    file = data_yaml.parent / "images" / "train" / "7.jpg"
    if change == "size":
        file.write_bytes(picture(b"image 7") + b"longer than before")
    elif change == "inode":
        other = file.with_name("other")
        other.write_bytes(picture(b"IMAGE 7"))
        other.replace(file)
    elif change == "removed":
        file.unlink()
    else:
        file.with_name("7b.jpg").write_bytes(picture(b"image 7"))
    for path in (file, file.with_name("7b.jpg")):
        if path.exists():
            os.utime(path, ns=(LONG_AGO, LONG_AGO))
    assert start(data_yaml) == dataset_digest(read_dataset(data_yaml)) != first


def test_a_file_modified_just_before_it_was_read_is_read_again(data_yaml: Path) -> None:
    """A second change within the tick of the file system's clock leaves its time as it is."""
    file = data_yaml.parent / "images" / "train" / "7.jpg"
    file.write_bytes(picture(b"first 7"))
    first = start(data_yaml)
    changed_unseen(file, picture(b"other 7"))
    assert start(data_yaml) == dataset_digest(read_dataset(data_yaml)) != first


@pytest.mark.parametrize("damage", [b"", b"not a memo", b"\n{}"])
def test_a_damaged_memo_counts_as_absent(data_yaml: Path, damage: bytes) -> None:
    first = start(data_yaml)
    (memo,) = (data_yaml.parents[1] / "cache").iterdir()
    content = memo.read_bytes()
    memo.write_bytes(damage or content.replace(b"0", b"1"))
    assert start(data_yaml) == first
    assert memo.read_bytes() == content


def test_what_was_read_before_a_bad_label_is_remembered(data_yaml: Path) -> None:
    start(data_yaml)
    (memo,) = (data_yaml.parents[1] / "cache").iterdir()
    memo.unlink()
    bad = data_yaml.parent / "labels" / "val" / "99.txt"
    bad.write_text("7 0.5 0.5 0.1 0.1\n")
    for _ in range(2):
        with pytest.raises(DatasetError, match="class id 7 is out of range"):
            start(data_yaml)
    assert b"labels/train/0.txt" in memo.read_bytes()


def test_what_was_found_of_a_bad_image_is_remembered(data_yaml: Path) -> None:
    bad = data_yaml.parent / "images" / "train" / "7.jpg"
    bad.write_bytes(picture(b"image 7")[:50])
    os.utime(bad, ns=(LONG_AGO, LONG_AGO))
    for _ in range(2):
        with pytest.raises(
            DatasetError, match=r"1 image cannot be used: \S+7\.jpg cannot be decoded"
        ):
            start(data_yaml)
        changed_unseen(bad, b"P")  # its second look is one at the memo
    bad.write_bytes(picture(b"image 7"))
    start(data_yaml)


def test_remembered_labels_are_checked_for_another_task(data_yaml: Path) -> None:
    start(data_yaml)
    with pytest.raises(DatasetError, match="a segmentation model needs polygons"):
        start(data_yaml, task="segment")
    text = data_yaml.read_text()
    data_yaml.write_text(text.replace("[cat, dog]", "[cat]"))
    with pytest.raises(DatasetError, match=r"class id 1 is out of range 0\.\.0"):
        start(data_yaml)


def test_a_folder_that_cannot_be_written_is_no_error(data_yaml: Path) -> None:
    (data_yaml.parents[1] / "cache").write_text("a file")
    assert start(data_yaml) == dataset_digest(read_dataset(data_yaml))


def test_starts_at_once_and_killed_ones_leave_a_good_memo(data_yaml: Path) -> None:
    cache = data_yaml.parents[1] / "cache"
    command = [sys.executable, "-c", START, str(data_yaml), str(cache)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as killed:
        time.sleep(0.3)
        killed.kill()
    starts = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = {process.communicate()[0].strip() for process in starts}
    assert said == {start(data_yaml)}


def test_a_split_is_listed_once(data_yaml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walked: list[Path] = []
    walk = os.walk

    def counted(source: Path, *, followlinks: bool) -> object:
        walked.append(source)
        return walk(source, followlinks=followlinks)

    monkeypatch.setattr(dataset_module.os, "walk", counted)
    dataset = read_dataset(data_yaml)
    check_dataset(dataset)
    dataset_digest(dataset)
    assert len(images_of(dataset, "train")) == IMAGES // 2
    assert sorted(walked) == [dataset.train[0], dataset.val[0]]


def test_hidden_images_are_left_out_and_linked_folders_followed_as_ultralytics_does(
    data_yaml: Path,
) -> None:
    from ultralytics.data.base import BaseDataset

    train = data_yaml.parent / "images" / "train"
    (train / "._0.jpg").write_bytes(b"of another system")
    (train / ".hidden").mkdir()
    (train / ".hidden" / "0.jpg").write_bytes(b"of another system")
    elsewhere = data_yaml.parents[1] / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "linked.jpg").write_bytes(b"image")
    (train / "link").symlink_to(elsewhere)
    mine = images_of(read_dataset(data_yaml), "train")
    reader = BaseDataset.__new__(BaseDataset)
    reader.prefix, reader.fraction = "", 1.0
    assert sorted(map(str, mine)) == sorted(reader.get_img_files(str(train)))
    assert train / "link" / "linked.jpg" in mine


def test_a_generated_set_is_not_read_again_either(tmp_path: Path) -> None:
    def make() -> Path:
        return generate_scenes(tmp_path / "set", train=1, val=1, test=1)

    image = make().parent / "images" / "train" / "train-00000.jpg"
    for file in (tmp_path / "set").rglob("*"):
        os.utime(file, ns=(LONG_AGO, LONG_AGO))
    make()
    changed_unseen(image, b"?")
    make()
    assert image.read_bytes()[:1] == b"?"
    os.utime(image)
    make()
    assert image.read_bytes()[:1] != b"?", "a damaged set was kept"
