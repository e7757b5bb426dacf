"""The built-in scenes: deterministic, labelled inside the image, splits apart, whole or absent."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from prunebench.common.errors import DatasetError
from prunebench.data import folder as folder_module
from prunebench.data.check import check_dataset
from prunebench.data.dataset import resolve_dataset
from prunebench.data.labels import read_labels
from prunebench.data.scenes import (
    SCENE_NAMES,
    SceneObject,
    generate_scenes,
    mask_polygon,
    render_scene,
)
from prunebench.steps.events import Event, listening


def digests(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scenes") / "set"
    return generate_scenes(root, train=12, val=6, test=6, seed=3).parent


def test_same_seed_gives_same_bytes(scenes: Path, tmp_path: Path) -> None:
    again = generate_scenes(tmp_path / "set", train=12, val=6, test=6, seed=3).parent
    assert digests(again) == digests(scenes)


def test_another_seed_gives_other_images(scenes: Path, tmp_path: Path) -> None:
    other = digests(generate_scenes(tmp_path / "set", train=12, val=6, test=6, seed=4).parent)
    mine = digests(scenes)
    images = [name for name in mine if name.startswith("images/")]
    assert len(images) == 24
    assert all(mine[name] != other[name] for name in images)


def test_splits_share_no_scene(scenes: Path) -> None:
    images = [digest for name, digest in digests(scenes).items() if name.startswith("images/")]
    assert len(set(images)) == len(images)


def test_a_smaller_set_is_the_beginning_of_a_larger_one(scenes: Path, tmp_path: Path) -> None:
    small = digests(generate_scenes(tmp_path / "set", train=2, val=3, test=1, seed=3).parent)
    large = digests(scenes)
    shared = [name for name in small if name.startswith(("images/", "labels/"))]
    assert len(shared) == 12
    assert all(small[name] == large[name] for name in shared)


def test_labels_lie_inside_the_image_and_use_every_class(scenes: Path) -> None:
    rows = np.concatenate(
        [read_labels(path, classes=7) for path in sorted((scenes / "labels").rglob("*.txt"))]
    )
    assert set(rows[:, 0].astype(int)) == set(SCENE_NAMES)
    low, high = rows[:, 1:3] - rows[:, 3:] / 2, rows[:, 1:3] + rows[:, 3:] / 2
    assert low.min() >= -1e-5
    assert high.max() <= 1 + 1e-5
    assert (rows[:, 3:] > 0.01).all()


def test_images_have_the_size_asked_for(tmp_path: Path) -> None:
    root = generate_scenes(tmp_path / "s", train=1, val=1, test=1, width=192, height=108).parent
    for path in (root / "images").rglob("*.jpg"):
        assert cv2.imread(str(path)).shape == (108, 192, 3)


def test_scenes_vary_in_number_size_and_light() -> None:
    drawn = [render_scene(np.random.default_rng([9, index])) for index in range(40)]
    counts = {len(objects) for _, objects in drawn}
    heights = [item.box[3] - item.box[1] for _, objects in drawn for item in objects]
    brightness = [float(image.mean()) for image, _ in drawn]
    assert len(counts) >= 4
    assert min(heights) < 20 < 60 < max(heights)
    assert max(brightness) > 2 * min(brightness)


def test_a_box_is_tight_around_what_is_seen() -> None:
    for index in range(10):
        image, objects = render_scene(np.random.default_rng([5, index]))
        height, width = image.shape[:2]
        for item in objects:
            assert isinstance(item, SceneObject)
            x1, y1, x2, y2 = item.box
            assert 0 <= x1 < x2 <= width
            assert 0 <= y1 < y2 <= height


def test_corners_are_of_a_box_around_all_that_is_seen() -> None:
    turned = 0
    for index in range(10):
        for item in render_scene(np.random.default_rng([5, index]))[1]:
            sides = np.roll(item.corners, -1, axis=0) - item.corners
            np.testing.assert_allclose(sides[0] @ sides[1], 0, atol=1e-6)
            turned += abs(sides[0][1]) > 0.05 * abs(sides[0][0])
            around = cv2.minAreaRect(item.corners.astype(np.float32))
            points = cv2.boxPoints((around[0], np.add(around[1], 0.01), around[2]))
            inside = [cv2.pointPolygonTest(points, p.tolist(), True) for p in item.polygon]
            assert min(inside) > -0.05
    assert turned > 10


def test_keypoints_are_the_ends_of_an_object() -> None:
    seen = set()
    for index in range(10):
        for item in render_scene(np.random.default_rng([5, index]))[1]:
            top, right, bottom, left = item.keypoints
            seen |= set(item.keypoints[:, 2].tolist())
            if min(item.keypoints[:, 2]) > 0:
                assert top[1] < bottom[1]
                assert left[0] < right[0]
                low = item.box[:2] - item.keypoints[:, :2].min(axis=0)
                # An object of which nothing is covered reaches as far as its ends.
                if min(item.keypoints[:, 2]) == 2:
                    assert low.max() < 0.2 * (item.box[2] - item.box[0]) + 2
    assert seen == {0, 1, 2}


@pytest.mark.parametrize(("kind", "columns"), [("pose", 17), ("obb", 9)])
def test_other_tasks_have_the_same_images(
    scenes: Path, tmp_path: Path, kind: str, columns: int
) -> None:
    data = resolve_dataset(f"scenes-{kind}:train=2,val=2,test=2,seed=3", cache_dir=tmp_path)
    check_dataset(data, task=kind, splits=("train", "val", "test"))
    own, other = digests(data.root), digests(scenes)
    images = [name for name in own if name.startswith("images/")]
    assert len(images) == 6
    assert all(own[name] == other[name] for name in images)
    lines = [line for file in (data.root / "labels").rglob("*.txt") for line in file.open()]
    assert {len(line.split()) for line in lines} == {columns}
    assert data.keypoints == ((4, 3) if kind == "pose" else None)


def test_an_outline_filled_again_is_what_was_seen() -> None:
    rows, columns = np.mgrid[:40, :60]
    distance = np.hypot(rows - 20, columns - 20)
    disc, ring = distance < 15, (distance < 15) & (distance > 7)
    cut = disc & (abs(columns - 20) > 2)
    for mask, seam in ((disc, 0), (ring, 0), (cut, 10)):
        filled = np.zeros(mask.shape, dtype=np.uint8)
        cv2.fillPoly(filled, [mask_polygon(mask).astype(np.int32)], 1)
        assert filled[mask].all()
        # Between two parts the seam is drawn, a pixel wide.
        assert filled.sum() - mask.sum() <= seam


def test_every_object_has_an_outline_within_its_box() -> None:
    for index in range(5):
        for item in render_scene(np.random.default_rng([5, index]))[1]:
            low, high = item.polygon.min(axis=0), item.polygon.max(axis=0)
            assert [*(low - 0.5), *(high + 0.5)] == list(item.box)


def test_a_complete_set_is_reused(tmp_path: Path) -> None:
    root = tmp_path / "set"
    first = generate_scenes(root, train=2, val=1, test=1)
    inode = first.stat().st_ino
    (root / "labels" / "train.cache").write_bytes(b"left by Ultralytics")
    assert generate_scenes(root, train=2, val=1, test=1).stat().st_ino == inode
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_damaged_set_and_other_parameters_are_made_again(tmp_path: Path) -> None:
    root = tmp_path / "set"
    generate_scenes(root, train=2, val=1, test=1)
    whole = digests(root)
    (root / "labels" / "train" / "train-00000.txt").write_text("", encoding="utf-8")
    generate_scenes(root, train=2, val=1, test=1)
    assert digests(root) == whole
    generate_scenes(root, train=3, val=1, test=1)
    assert len(list((root / "images" / "train").iterdir())) == 3
    assert json.loads((root / "manifest.json").read_text())["parameters"]["counts"]["train"] == 3


def test_a_foreign_folder_is_refused_and_untouched(tmp_path: Path) -> None:
    root = tmp_path / "set"
    root.mkdir()
    (root / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(DatasetError, match="holds other files"):
        generate_scenes(root, train=1, val=1, test=1)
    assert [path.name for path in root.iterdir()] == ["thesis.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_an_interrupted_generation_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(root: Path) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder_module, "_content_digest", full_disk)
    with pytest.raises(DatasetError, match="No space left"):
        generate_scenes(tmp_path / "set", train=1, val=1, test=1)
    assert list(tmp_path.iterdir()) == []


def test_a_set_made_meanwhile_by_another_process_is_taken(tmp_path: Path) -> None:
    root = tmp_path / "set"
    parameters = {"generator_version": 1}

    def write(folder: Path) -> None:
        (folder / "data.yaml").write_text("names: [a]\n", encoding="utf-8")

    def write_slowly(folder: Path) -> None:
        write(folder)
        folder_module.make_once(root, parameters, write)

    assert folder_module.make_once(root, parameters, write_slowly) == root / "data.yaml"
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train": 0}, "train=0 is no number of images"),
        ({"width": 32}, "32x180 pixels is too small"),
        ({"seed": -1}, "seed=-1 is negative"),
    ],
)
def test_impossible_parameters(tmp_path: Path, arguments: dict[str, int], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        generate_scenes(tmp_path / "set", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_progress_is_announced(tmp_path: Path) -> None:
    events: list[Event] = []
    with listening(events.append):
        generate_scenes(tmp_path / "set", train=28, val=1, test=1, width=96, height=64)
    assert [(event.done, event.total) for event in events] == [(0, 30), (25, 30)]


def test_the_generator_is_the_one_the_shipped_checkpoint_was_trained_with() -> None:
    """A change here needs a new ``GENERATOR_VERSION`` and a new ``assets/scenes-yolov8n.pt``."""
    drawn = [render_scene(np.random.default_rng([0, 2, index]))[1] for index in range(20)]
    text = repr([[(item.class_id, item.box) for item in objects] for objects in drawn])
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "a0c59be48accddf0"
