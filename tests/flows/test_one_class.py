"""A checkpoint trained with ``single_cls`` on seven classes, some of whose images are damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dataset_kit import append, cut, state_of
from hostile_kit import checkpoint, other_network

from flows.run_experiment import run_experiment
from prunebench.common.errors import DatasetError
from prunebench.config.loading import parse_config
from prunebench.data.dataset import SPLITS, images_of
from prunebench.data.labels import labels_of
from prunebench.data.scenes import generate_scenes
from prunebench.experiment.inputs import read_experiment
from prunebench.experiment.prepare import check
from prunebench.measuring.map_bootstrap import load_detections
from prunebench.results.run_folder import read_variants
from prunebench.steps.events import Event, listening, text_of
from prunebench.variants.checkpoint import inspect_checkpoint
from tests.conftest import tiny_values


def single_class(network: Any, content: dict[str, Any]) -> None:
    content["model"] = other_network(names=("item",)).half()
    content["train_args"]["single_cls"] = True


def damaged(root: Path) -> Path:
    """Scenes with an image per split that is cut off, and one with bytes behind its end."""
    data = generate_scenes(root, train=10, val=6, test=22)
    for split, index in (("train", 3), ("val", 1), ("test", 0)):
        cut(root / "images" / split / f"{split}-{index:05d}.jpg", 400)
        append(root / "images" / split / f"{split}-{index + 1:05d}.jpg", b"\0\0")
    return data


def test_one_class_and_no_bad_image_everywhere_and_the_users_folder_as_it_is(
    tmp_path: Path,
) -> None:
    root = tmp_path / "data"
    values = tiny_values(
        tmp_path / "runs",
        model=str(checkpoint(single_class)(tmp_path)),
        data=str(damaged(root)),
        bad_images="skip",
        image={"height": 64, "width": 96},
        quantize={"variants": ["pruned"], "calibration_images": 4, "max_map50_loss": 0.99},
    )
    with pytest.raises(DatasetError, match=r"and the dataset has 7; set single_cls to true in"):
        check(parse_config(values))
    before, events = state_of(root), list[Event]()
    with listening(events.append):
        state = run_experiment(parse_config(values | {"single_cls": True}), return_state=True)
    outcome: dict[str, Any] = state.result()
    assert outcome["failed"] == []
    assert state_of(root) == before
    left_out = "3 images cannot be used: images/test/test-00000.jpg cannot be decoded;"
    assert any(left_out in text_of(event) for event in events)

    folder = Path(outcome["folder"])
    experiment = read_experiment(folder)
    assert experiment.class_names == {0: "item"}
    assert len(experiment.images) == 21
    assert [len(images_of(experiment.dataset, split)) for split in SPLITS] == [9, 5, 21]
    labels = [labels_of(image) for image in images_of(experiment.dataset, "test")]
    rows = [line for file in labels for line in file.read_text().splitlines()]
    variants = {variant.name: variant for variant in read_variants(folder)}
    assert {"baseline", "pruned-int8", "standard-1", "preserving-1"} <= variants.keys()
    for name, variant in variants.items():
        found = load_detections(folder / "variants" / name / "detections.npz")
        assert list(found.target_counts.sum(axis=0)) == [len(rows)]
        assert variant.accuracy is not None
        assert variant.accuracy.images == 21
        if variant.checkpoint is not None:
            info = inspect_checkpoint(folder / variant.checkpoint.path)
            assert (info.names, info.single_cls) == ({0: "item"}, True)
