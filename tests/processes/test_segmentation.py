"""A tiny segmentation model from its checkpoint to a ranking by its masks, every step real."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pruning_kit import tiny_network
from ultralytics.nn.tasks import yaml_model_load
from ultralytics.utils import YAML

from prunebench.common.errors import ConfigError, DatasetError
from prunebench.common.variant_record import VariantRecord
from prunebench.config.loading import Config, parse_config
from prunebench.data.scenes import SCENE_NAMES
from prunebench.experiment.make import evaluate_variant, export_variant, make_variant
from prunebench.experiment.measure_and_rank import measure_latency, rank_run
from prunebench.experiment.prepare import check, prepare
from prunebench.measuring.latency.samples import read_samples
from prunebench.results.outcome import RunRanking
from prunebench.results.run_folder import LATENCY_FOLDER
from prunebench.variants.checkpoint import save_checkpoint
from tests.conftest import tiny_values

Outcome = tuple[Path, dict[str, VariantRecord], RunRanking]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("segmentation")
    for name in ("yolov8n", "yolov8n-seg"):
        network = tiny_network(name)
        network.names = dict(SCENE_NAMES)
        save_checkpoint(network, folder / f"{name}.pt", {})
    return folder


def config(home: Path, model: str, data: str, metric: str = "mask") -> Config:
    values = tiny_values(home / "out", model=str(home / model), data=data)
    return parse_config({**values, "ranking": {"metric": metric, "bootstrap": 200}})


@pytest.fixture(scope="module")
def outcome(home: Path) -> Outcome:
    def ignore(event: object) -> None:
        """Nobody watches."""

    given = config(home, "yolov8n-seg.pt", "scenes-seg:train=4,val=4,test=4,width=96,height=64")
    experiment = prepare(given)
    made: dict[str, VariantRecord] = {}
    for planned in experiment.variants[:2]:
        baseline = made.get("baseline")
        variant = make_variant(experiment, planned, baseline, baseline, ignore)
        variant = export_variant(experiment, variant, ignore)
        made[planned.name] = evaluate_variant(experiment, variant, ignore)
    latency = measure_latency(experiment, list(made.values()), ignore)
    folder = experiment.run_folder
    return folder, made, rank_run(experiment, list(made.values()), latency)


def test_it_is_ranked_by_its_masks(outcome: Outcome) -> None:
    folder, made, ranked = outcome
    assert list(made) == ["baseline", "pruned"]
    ranking = ranked.rankings[0]
    assert ranking.metric == "mask"
    for name, variant in made.items():
        accuracy = variant.accuracy
        assert accuracy is not None
        assert accuracy.mask_map50 is not None
        row = ranking.row(name)
        assert row.mask_map50 is not None
        assert row.map50.estimate == row.mask_map50.estimate == accuracy.mask_map50
        with np.load(folder / accuracy.detections.path) as arrays:
            assert arrays["tp_mask"].shape == arrays["tp"].shape
    stored = json.loads((folder / "ranking.json").read_text())
    assert stored["rankings"][0]["metric"] == "mask"


def test_frames_were_measured_with_their_masks(outcome: Outcome) -> None:
    samples = read_samples(outcome[0] / LATENCY_FOLDER / "samples.jsonl")
    assert {sample.variant for sample in samples} >= {"baseline", "pruned"}
    assert all(min(s.nms_ms) > 0 for s in samples if s.variant in outcome[1])


@pytest.mark.usefixtures("given_here")
def test_what_does_not_fit_is_refused_before_any_work(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for measured in ("block_for", "passes_for", "look_at_integers"):
        place = f"prunebench.experiment.prepare.{measured}"
        monkeypatch.setattr(place, lambda *given: pytest.fail("it measures"))
    boxes, outlines = (f"{kind}:train=1,val=1,test=1" for kind in ("scenes", "scenes-seg"))
    with pytest.raises(DatasetError, match="holds boxes, but a segmentation model needs polygons"):
        check(config(home, "yolov8n-seg.pt", boxes, "box"))
    message = r"ranking\.metric: the metric is mask, but .*yolov8n\.pt is a detection model"
    with pytest.raises(ConfigError, match=message):
        check(config(home, "yolov8n.pt", outlines))


@pytest.mark.usefixtures("given_here")
@pytest.mark.parametrize(
    ("model", "head", "kind"),
    [
        ("yolov8n.yaml", None, ConfigError),
        ("yolo26s-seg.yaml", None, DatasetError),
        ("mine.yaml", "Detect", ConfigError),
        ("mine.yaml", "Segment", DatasetError),
    ],
)
def test_a_network_that_is_trained_first_is_judged_by_name_or_head(
    tmp_path: Path, model: str, head: str | None, kind: type[Exception]
) -> None:
    if head is not None:
        stock = "yolov8n.yaml" if head == "Detect" else "yolov8n-seg.yaml"
        model = str(tmp_path / model)
        YAML.save(model, yaml_model_load(stock))
    values = tiny_values(tmp_path / "out", model=model, data="scenes:train=1,val=1,test=1")
    given = parse_config({**values, "ranking": {"metric": "mask"}})
    with pytest.raises(kind, match=r"detection model|needs polygons"):
        check(given)
