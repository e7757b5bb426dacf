"""Classes of images are scored as by Ultralytics' classification validator."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from accuracy_kit import SESSION
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from pruning_kit import NAMES, tiny_network
from ultralytics.data.augment import classify_transforms
from ultralytics.models import YOLO

from prunebench.common.errors import DatasetError
from prunebench.measuring.accuracy import Request, run
from prunebench.measuring.heads.classify import Classify
from prunebench.measuring.heads.detect import Rules
from prunebench.measuring.inference import OnnxNetwork, read_input
from prunebench.measuring.map_bootstrap import Detections, Resamples, load_detections
from prunebench.variants.checkpoint import save_checkpoint
from prunebench.variants.export import export_onnx

SIDE = 64
IMAGES = 40
sides = st.integers(1, 130)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An exported network, and images in class folders that it is sometimes right about."""
    folder = tmp_path_factory.mktemp("classes")
    network = tiny_network("yolov8n-cls")
    rng = np.random.default_rng(5)
    pictures = [
        cv2.resize(rng.integers(0, 255, (5, 8, 3), dtype=np.uint8), (160, 90))
        for _ in range(IMAGES)
    ]
    with torch.no_grad():
        tensors = [Classify().framed(picture, (SIDE, SIDE))[0] for picture in pictures]
        batch = torch.from_numpy(np.concatenate(tensors))
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
        # Random weights let a signal vanish, unless BatchNorm knows how little is left of it.
        network.train()(batch)
        logits = network.eval()(batch)[1]
        linear = network.model[-1].linear
        gain = 3 / logits.std(dim=0)
        linear.weight.mul_(gain[:, None])
        linear.bias.copy_((linear.bias - logits.mean(dim=0)) * gain)
    save_checkpoint(network, folder / "source.pt", {})
    file = export_onnx(folder / "source.pt", folder, (SIDE, SIDE), opset=17)
    runs = OnnxNetwork(file, (SIDE, SIDE), SESSION)
    rules = Rules(len(NAMES), (SIDE, SIDE), 0.001, 0.7, 300, multi_label=True)
    for name in NAMES.values():
        (folder / "train" / name).mkdir(parents=True)
    (folder / "val").symlink_to(folder / "train")
    for index, picture in enumerate(pictures):
        cv2.imwrite(str(folder / "image.png"), picture)
        tensor = read_input(folder / "image.png", (SIDE, SIDE), runs.head)[0]
        best = runs.head.find(runs(tensor), rules).rows[:, 5].astype(int)
        # Right, right among five, or anything.
        name = NAMES[[int(best[0]), int(best[3]), index % len(NAMES)][index % 3]]
        (folder / "image.png").rename(folder / "train" / name / f"{index}.png")
    return file, folder


def test_figures_are_those_of_ultralytics_validator(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    file, folder = made
    metrics = YOLO(file, task="classify").val(
        data=str(folder), imgsz=SIDE, plots=False, verbose=False, project=str(tmp_path)
    )
    images = sorted((folder / "train").rglob("*.png"))
    asked = Request(
        onnx=str(file),
        images=tuple(map(str, images)),
        names=NAMES,
        imgsz=(SIDE, SIDE),
        confidence=0.001,
        iou=0.7,
        max_det=300,
        session=SESSION,
    )
    accuracy = run(asked, tmp_path, lambda event: None)
    assert accuracy.metric == "top1"
    assert 0.2 < accuracy.map50 < 0.8
    assert accuracy.map50 == pytest.approx(metrics.top1, abs=1e-6)
    assert accuracy.map50_95 == pytest.approx(metrics.top5, abs=1e-6)
    assert accuracy.map50 < accuracy.map50_95 < 1
    assert accuracy.by_overlap == {"top1": accuracy.map50}
    assert accuracy.in_words == f"top-1 {accuracy.map50:.3f} on {IMAGES} images"
    right = load_detections(tmp_path / "detections.npz", "top1").right(1)
    kinds = np.array([image.parent.name for image in images])
    assert accuracy.per_class == pytest.approx(
        {i: right[kinds == name].mean() for i, name in NAMES.items() if (kinds == name).any()}
    )
    nowhere = tmp_path / "unsorted" / "a.png"
    nowhere.parent.mkdir()
    shutil.copy(images[0], nowhere)
    with pytest.raises(DatasetError, match="the folder unsorted of an image is no class: disc"):
        run(asked.model_copy(update={"images": (str(nowhere),)}), tmp_path, lambda event: None)


@settings(max_examples=40, deadline=None)
@given(height=sides, width=sides, rows=sides, columns=sides, square=st.booleans())
@example(height=130, width=40, rows=64, columns=64, square=True)
@example(height=90, width=70, rows=64, columns=96, square=False)
def test_an_image_becomes_what_ultralytics_makes_of_it(
    height: int, width: int, rows: int, columns: int, square: bool
) -> None:
    size = (rows, rows) if square else (rows, columns)
    image = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    theirs = classify_transforms(size[0] if size[0] == size[1] else size)
    expected = theirs(Image.fromarray(image[..., ::-1])).numpy()
    tensor, scale, corner = Classify().framed(image, size)
    np.testing.assert_array_equal(tensor[0], expected)
    middle = np.array([width, height]) / 2 * scale + corner
    np.testing.assert_allclose(middle, np.array(size[::-1]) / 2, atol=1)


def answers(right: np.ndarray) -> Detections:
    """Two classes in turn, and whether each image is right."""
    images = np.arange(len(right))
    labels = images % 2
    return Detections(
        image=images,
        confidence=np.full(len(right), 0.9),
        cls=np.where(right, labels, 1 - labels),
        tp=np.repeat(right[:, None], 10, axis=1),
        target_counts=np.eye(2, dtype=np.int64)[labels],
        of="top1",
    )


def test_the_spread_of_a_share_is_that_of_its_images() -> None:
    rng = np.random.default_rng(1)
    one = answers(rng.random(200) < 0.8)
    resamples = Resamples(one.target_counts, 4000, seed=0)
    scores = resamples.scores(one)
    share = one.right(1).mean()
    assert scores.map50 == share
    assert scores.draws.std() == pytest.approx(np.sqrt(share * (1 - share) / 199), rel=0.06)
    assert scores.classes.tolist() == [one.right(1)[kind::2].mean() for kind in (0, 1)]
    # Variants that answer alike differ by nothing.
    np.testing.assert_array_equal(resamples.scores(one).draws, scores.draws)
    # An image that two answer otherwise shows nothing, thirty do.
    for count, shown in ((1, False), (30, True)):
        right = one.right(1).copy()
        right[np.flatnonzero(right)[:count]] = False
        other = resamples.scores(answers(right))
        t = (scores.map50 - other.map50) / (scores.draws - other.draws).std()
        assert bool(t > 2) is shown


def test_images_that_are_all_right_leave_a_doubt() -> None:
    perfect = answers(np.ones(24, dtype=bool))
    draws = Resamples(perfect.target_counts, 4000, seed=0).scores(perfect).draws
    # Laplace's estimate is 25 of 26.
    assert draws.std() == pytest.approx(np.sqrt(25 / 26 * (1 / 26) / 24), rel=0.06)
