"""A checkpoint trained with ``single_cls`` on data of seven classes, from file to report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hostile_kit import checkpoint, other_network

from flows.run_experiment import run_experiment
from prunebench.common.errors import DatasetError
from prunebench.config.loading import parse_config
from prunebench.data.dataset import images_of
from prunebench.data.labels import labels_of
from prunebench.experiment.inputs import read_experiment
from prunebench.experiment.prepare import check
from prunebench.measuring.map_bootstrap import load_detections
from prunebench.results.run_folder import read_variants
from prunebench.variants.checkpoint import inspect_checkpoint
from tests.conftest import tiny_values


def single_class(network: Any, content: dict[str, Any]) -> None:
    content["model"] = other_network(names=("item",)).half()
    content["train_args"]["single_cls"] = True


def test_every_object_is_of_one_class_everywhere(tmp_path: Path) -> None:
    values = tiny_values(
        tmp_path / "runs",
        model=str(checkpoint(single_class)(tmp_path)),
        image={"height": 64, "width": 96},
        quantize={"variants": ["pruned"], "calibration_images": 4, "max_map50_loss": 0.99},
    )
    with pytest.raises(DatasetError, match=r"and the dataset has 7; set single_cls to true in"):
        check(parse_config(values))
    state = run_experiment(parse_config(values | {"single_cls": True}), return_state=True)
    outcome: dict[str, Any] = state.result()
    assert outcome["failed"] == []

    folder = Path(outcome["folder"])
    experiment = read_experiment(folder)
    assert experiment.class_names == {0: "item"}
    labels = [labels_of(image) for image in images_of(experiment.dataset, "test")]
    rows = [line for file in labels for line in file.read_text().splitlines()]
    variants = {variant.name: variant for variant in read_variants(folder)}
    assert {"baseline", "pruned-int8", "standard-1", "preserving-1"} <= variants.keys()
    for name, variant in variants.items():
        found = load_detections(folder / "variants" / name / "detections.npz")
        assert list(found.target_counts.sum(axis=0)) == [len(rows)]
        if variant.checkpoint is not None:
            info = inspect_checkpoint(folder / variant.checkpoint.path)
            assert (info.names, info.single_cls) == ({0: "item"}, True)
