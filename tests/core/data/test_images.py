"""Images are read by one reader, upright, and those that cannot be used are known beforehand."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from dataset_kit import append, cut, make_images, state_of
from PIL import Image, ImageOps

from prunebench.common.errors import DatasetError
from prunebench.data import file_memo
from prunebench.data.check import check_dataset, flawed_sentence, leave_out
from prunebench.data.dataset import dataset_digest, images_of, read_dataset
from prunebench.data.images import flaw_of, usable_image

FORMATS = ("jpg", "png", "webp", "tiff", "bmp", "jp2", "avif")


def encoded(suffix: str, width: int = 64, height: int = 36, **options: object) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    kind = {"jpg": "JPEG", "jp2": "JPEG2000"}.get(suffix, suffix.upper())
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_image_is_usable_whole_and_not_where_it_was_cut_off(suffix: str) -> None:
    """Pillow is the other implementation: it reads what is whole and nothing that is not."""
    content = encoded(suffix)
    assert flaw_of(content, f"a.{suffix}") is None
    for share in (0.1, 0.5, 0.9):
        part = content[: int(len(content) * share)]
        with pytest.raises(Exception):  # noqa: B017, PT011
            Image.open(io.BytesIO(part)).load()
        assert flaw_of(part, f"a.{suffix}") == "cannot be decoded"


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"<html>not found</html>"])
def test_what_is_no_image_cannot_be_decoded(content: bytes) -> None:
    assert flaw_of(content, "a.jpg") == "cannot be decoded"


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("side", [9, 10, 16, 17, 100])
def test_an_image_ultralytics_leaves_out_for_its_size_is_not_usable(
    suffix: str, side: int, tmp_path: Path
) -> None:
    from ultralytics.data.utils import check_image

    content = encoded(suffix, 100, side)
    file = tmp_path / f"a.{suffix}"
    file.write_bytes(content)
    if side < 10:
        with pytest.raises(AssertionError, match="<10 pixels"):
            check_image(str(file))
        assert flaw_of(content, "a") == f"has 100 x {side} pixels, fewer than 10 a side"
    else:
        assert check_image(str(file)) == ("", (side, 100))
        assert flaw_of(content, "a") is None


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff", "avif"])
@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
def test_images_stand_upright_as_in_a_training_and_in_pillow(
    suffix: str, orientation: int, tmp_path: Path
) -> None:
    from ultralytics.utils.patches import imread

    exif = Image.Exif()
    exif[274] = orientation
    file = tmp_path / f"a.{suffix}"
    file.write_bytes(encoded(suffix, exif=exif))
    image = usable_image(file)
    assert np.array_equal(image, imread(file))
    with Image.open(file) as opened:
        upright = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    assert image.shape == upright.shape
    difference = np.abs(image[..., ::-1].astype(float) - upright)
    assert difference.mean() < 3, "decoders differ by rounding alone"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"a\.jpg: the image cannot be read \(No such file"):
        usable_image(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes(encoded("jpg")[:400])
    with pytest.raises(DatasetError, match=r"a\.jpg: the image cannot be read; replace"):
        usable_image(tmp_path / "a.jpg")


def test_bad_images_are_listed_and_can_be_left_out(tmp_path: Path) -> None:
    data_yaml = make_images(tmp_path / "data", suffix="jpg", test="images/val")
    train = tmp_path / "data" / "images" / "train"
    cut(train / "1.jpg", 400)
    (train / "2.jpg").write_bytes(b"")
    append(train / "0.jpg", b"\0\0")
    before = state_of(tmp_path / "data")
    dataset = read_dataset(data_yaml)
    said = (
        "2 images cannot be used: images/train/1.jpg cannot be decoded; images/train/2.jpg is empty"
    )
    empty = r"1 image cannot be used: images/train/2\.jpg is empty; restore or remove it"
    with pytest.raises(DatasetError, match=empty):  # known before any is decoded
        check_dataset(dataset)
    found = check_dataset(dataset, bad_images="skip")
    assert flawed_sentence(dataset, found.flawed) == said
    assert found.labelled == {"train": 1, "val": 3, "test": 3}
    kept = leave_out(dataset, found.flawed, tmp_path / "cache")
    assert images_of(kept, "train") == [train / "0.jpg"]
    assert images_of(kept, "val") == images_of(kept, "test") == images_of(dataset, "val")
    assert kept.names == dataset.names
    assert check_dataset(kept).labelled == found.labelled
    again = leave_out(dataset, found.flawed, tmp_path / "cache")
    assert (again.yaml, dataset_digest(again)) == (kept.yaml, dataset_digest(kept))
    assert dataset_digest(kept) == dataset_digest(read_dataset(kept.yaml))
    assert state_of(tmp_path / "data") == before


def test_what_is_known_without_decoding_is_told_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = read_dataset(make_images(tmp_path, suffix="jpg"))
    decoded: list[str] = []
    monkeypatch.setattr(file_memo, "flaw_of", lambda content, name: decoded.append(name))
    for label in (tmp_path / "labels" / "val").iterdir():
        label.unlink()
    with pytest.raises(DatasetError, match="val split has no labelled image"):
        check_dataset(dataset)
    assert decoded == []


def test_a_split_of_bad_images_alone_is_an_error(tmp_path: Path) -> None:
    dataset = read_dataset(make_images(tmp_path, suffix="jpg"))
    for image in images_of(dataset, "val"):
        cut(image, 400)
    with pytest.raises(DatasetError, match="val split has no labelled image"):
        check_dataset(dataset, bad_images="skip")
