"""Tiny pose, oriented-box and two-headed networks from their checkpoints to their tables."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from accuracy_kit import SESSION, of_ultralytics, spread_out
from pruning_kit import HW, tiny_network
from ultralytics.models import YOLO

from prunebench.common.errors import ConfigError, DatasetError
from prunebench.common.variant_record import VariantRecord
from prunebench.config.loading import Config, parse_config
from prunebench.data.scenes import SCENE_NAMES
from prunebench.experiment.alternatives import quantize_variant
from prunebench.experiment.given_model import given_request, plan_notes
from prunebench.experiment.inputs import Experiment
from prunebench.experiment.make import evaluate_variant, export_variant, make_variant
from prunebench.experiment.measure_and_rank import measure_latency, rank_run
from prunebench.experiment.prepare import check, prepare
from prunebench.measuring.heads.detect import Rules
from prunebench.measuring.inference import OnnxNetwork, read_input
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_variant
from prunebench.results.outcome import RunRanking
from prunebench.results.report.build import report_markdown
from prunebench.results.report.cards import cards
from prunebench.results.report.stored import read_stored_run
from prunebench.variants.audit import audit_file
from prunebench.variants.checkpoint import save_checkpoint
from prunebench.variants.given import open_given
from tests.conftest import tiny_values

SIZES = "train=4,val=4,test=4,width=96,height=64"

# That steps work in processes of their own is shown of other heads.
pytestmark = pytest.mark.usefixtures("steps_here")


def config(home: Path, name: str, data: str, **changes: object) -> Config:
    network = tiny_network(name)
    network.names = dict(SCENE_NAMES)
    if name.startswith("yolov8n-") and not name.endswith("-cls"):
        spread_out(network)
    if name.endswith("-cls"):
        network.names = dict(enumerate(sorted(SCENE_NAMES.values())))
    save_checkpoint(network, home / f"{name}.pt", {})
    model = str(home / f"{name}.pt")
    values = {"model": model, "data": f"{data}:{SIZES}", "image": {"height": 64, "width": 96}}
    values = tiny_values(home / "out", **{**values, **changes})
    return parse_config(values)


def ran(
    given: Config, wanted: tuple[str, ...]
) -> tuple[Experiment, dict[str, VariantRecord], RunRanking]:
    def ignore(event: object) -> None:
        """Nobody watches."""

    experiment = prepare(given)
    made: dict[str, VariantRecord] = {}
    for planned in (one for one in experiment.variants if one.name in wanted):
        parent = made.get(planned.parent or "")
        if planned.quantized:
            assert parent is not None
            variant = quantize_variant(experiment, planned, parent, ignore)
        else:
            variant = make_variant(experiment, planned, parent, made.get("baseline"), ignore)
            variant = export_variant(experiment, variant, ignore)
        made[planned.name] = evaluate_variant(experiment, variant, ignore)
    latency = measure_latency(experiment, list(made.values()), ignore)
    return experiment, made, rank_run(experiment, list(made.values()), latency)


def compare_detections(file: Path, task: str, image: Path) -> None:
    """Ours of an image as large as the letterbox with those of Ultralytics' predictor."""
    settings = {"conf": 0.001, "iou": 0.7, "max_det": 300}
    (theirs,) = YOLO(file, task=task).predict(image, imgsz=HW, verbose=False, **settings)
    network = OnnxNetwork(file, HW, SESSION)
    found = network.head.find(
        network(read_input(image, HW, network.head)[0]),
        Rules(len(SCENE_NAMES), HW, *settings.values()),
    )
    assert len(found.rows) > 20
    boxes = theirs.obb if task == "obb" else theirs.boxes
    one, other = [found.rows[:, 4:6]], [boxes.data[:, -2:]]
    if task == "obb":
        one.append(np.array([drawing.outline.ravel() for drawing in network.head.drawn(found)]))
        other.append(boxes.xyxyxyxy.reshape(len(boxes), -1))
    else:
        edge = [HW[1], HW[0]]  # Where Ultralytics' predictor cuts.
        one.append(found.rows[:, :4].clip(0, [*edge, *edge]))
        other.append(boxes.xyxy)
    if task == "pose":
        points = found.rows[:, 6:].reshape(-1, 4, 3)
        points[..., :2] = points[..., :2].clip(0, edge)
        one.append(points.reshape(len(points), -1))
        other.append(theirs.keypoints.data.reshape(len(boxes), -1))
    # In any order: on a plain background scores are as good as equal.
    apart = np.abs(np.hstack(one)[:, None] - np.hstack(other)).max(axis=2)
    assert apart.shape[0] == apart.shape[1]
    assert max(apart.min(axis=0).max(), apart.min(axis=1).max()) < 1e-3


@pytest.mark.parametrize(
    ("task", "metric", "strategies"),
    [("pose", "pose", ("standard-1", "preserving-1")), ("obb", "box", ("preserving-1",))],
)
def test_from_a_checkpoint_to_the_table(
    task: str, metric: str, strategies: tuple[str, ...], tmp_path: Path
) -> None:
    ranking = {"metric": metric, "bootstrap": 200}
    given = config(tmp_path, f"yolov8n-{task}", f"scenes-{task}", ranking=ranking)
    names = ("baseline", "pruned", *strategies)
    experiment, made, ranked = ran(given, names)
    found = ranked.rankings[0]
    assert {row.name for row in found.rows} == set(names)
    assert found.metric == metric
    verdicts = [one.audit.verdict for one in made.values() if one.audit]
    ends = ["restored", "preserved"] if task == "pose" else ["preserved"]
    assert verdicts == ["unpruned", "pruned", *ends]
    root = experiment.run_folder
    for row in found.rows:
        accuracy = made[row.name].accuracy
        assert accuracy is not None
        assert row.map50.estimate == accuracy.by_overlap[metric]
        shown = {"box mAP50", "pose mAP50"} if task == "pose" else {"mAP50"}
        assert row.shown_map50(found.metric).keys() == shown
    pruned = made["pruned"]
    assert pruned.exported is not None
    assert pruned.checkpoint is not None
    assert audit_file(root / pruned.exported.onnx.path).counted is not None
    # Plain Ultralytics' figures of the same file stand beside ours, and so does what it finds.
    assert pruned.accuracy is not None
    file = root / pruned.exported.onnx.path
    theirs = of_ultralytics(file, task, experiment.data_yaml, tmp_path, "test")
    assert pruned.accuracy.map50 == pytest.approx(theirs.box.map50, abs=1e-4)
    if task == "pose":
        assert pruned.accuracy.pose_map50 == pytest.approx(theirs.pose.map50, abs=1e-4)
    compare_detections(file, task, Path(experiment.images[0]))
    # What it was saved as needs nothing of this package.
    with zipfile.ZipFile(root / pruned.checkpoint.path) as archive:
        pickled = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        assert b"prunebench." not in archive.read(pickled)


def test_classes_from_a_checkpoint_to_the_report(tmp_path: Path) -> None:
    given = config(
        tmp_path,
        "yolo11n-cls",
        "scenes-classes",
        image={"height": 64, "width": 64},
        ranking={"bootstrap": 200},
        retrain={"strategies": {"standard": {}, "preserving": {"distill": "predictions"}}},
        quantize={"calibration_images": 4, "max_map50_loss": 0.99, "variants": ["pruned"]},
    )
    names = ("baseline", "pruned", "standard-1", "preserving-1", "pruned-int8")
    experiment, made, ranked = ran(given, names)
    root, found = experiment.run_folder, ranked.rankings[0]
    assert {row.name for row in found.rows} == set(names)
    assert found.metric == experiment.config.ranking.metric == "top1"
    verdicts = [one.audit.verdict for one in made.values() if one.audit]
    assert verdicts == ["unpruned", "pruned", "restored", "preserved", "preserved"]
    for row in found.rows:
        accuracy = made[row.name].accuracy
        assert accuracy is not None
        assert row.map50.estimate == accuracy.map50
        assert row.map50.low < row.map50.high
        assert row.shown_map50(found.metric) == {"top-1": row.map50}
    pruned, trained = made["pruned"], made["preserving-1"].training
    assert trained is not None
    assert trained.validation is not None
    assert pruned.exported is not None
    assert pruned.exported.parity is not None
    assert pruned.exported.parity.in_words.endswith("in a score; at most 0.005 is allowed")
    said = onnx.load(root / pruned.exported.onnx.path).metadata_props
    assert not {"conf", "iou", "max_det"} & {entry.key for entry in said}
    assert audit_file(root / pruned.exported.onnx.path).counted is not None
    theirs = YOLO(root / pruned.exported.onnx.path, task="classify").val(
        data=str(experiment.dataset.root),
        split="test",
        imgsz=64,
        plots=False,
        verbose=False,
        project=str(tmp_path),
    )
    assert pruned.accuracy is not None
    assert pruned.accuracy.map50 == pytest.approx(theirs.top1, abs=1e-6)
    for lang in ("en", "ko"):
        report = report_markdown(root, ranked, lang)
        assert "top-1" in report
        assert "AP50" not in report
        assert "NMS" not in report
        assert "letterbox" not in report
        assert "box sides" not in report
    card = cards(read_stored_run(root, ranked))[root / "variants/pruned/README.md"]
    assert "| top-1 | " in card
    assert "pipeline_tag: image-classification" in card
    assert 'model.predict("image.jpg", imgsz=(64, 64))' in card
    assert "letterbox" not in card
    assert "thresholds" not in card


def test_two_heads_stand_in_one_table(tmp_path: Path) -> None:
    given = config(tmp_path, "yolo26n", "scenes", controls=["other-head"])
    names = ("baseline", "baseline-one-to-one")
    experiment, made, ranked = ran(given, names)
    assert {row.name: row.control for row in ranked.rankings[0].rows} == {
        "baseline": None,
        "baseline-one-to-one": "other-head",
    }
    for name, head in zip(names, ("one_to_many", "one_to_one"), strict=True):
        exported = made[name].exported
        assert exported is not None
        assert exported.head == head
        finding = audit_file(experiment.run_folder / exported.onnx.path)
        assert finding.audit is not None
        assert finding.audit.verdict == made["baseline"].audit.verdict
        assert finding.onnx is not None
        assert finding.onnx.head == head
        assert f"{head.replace('_', '-')} head" in tell_variant(made[name], Messages())
    assert audit_file(Path(given.model)).two_heads
    opened = open_given(given_request(experiment.config, None))
    notes = plan_notes(experiment.config, experiment.variants, opened, None, None)
    assert any("Of its two heads the one-to-many one" in note for note in notes)
    (difference,) = (d for d in ranked.rankings[0].differences if d.metric == "speed")
    assert not difference.same_network


def test_what_a_head_does_not_do_is_refused(tmp_path: Path) -> None:
    ranking = {"metric": "pose"}
    with pytest.raises(ConfigError, match="is an oriented-box model and predicts no keypoints"):
        check(config(tmp_path, "yolov8n-obb", "scenes-obb", ranking=ranking))
    with pytest.raises(ConfigError, match=r"yolov8n\.pt has no one-to-one head beside"):
        check(config(tmp_path, "yolov8n", "scenes", export={"head": "one_to_one"}))
    square: dict[str, object] = {"image": {"height": 64, "width": 64}}
    network = {**square, "model": "yolov8n-cls.yaml"}
    distilled = {"strategies": {"preserving": {"distill": "features"}}}
    for changes, sentence in (
        ({}, r"sees squares, and image is 64 x 96 \(H x W\); set height and width to 224"),
        ({"ranking": {"metric": "pose"}}, "is a classification model and predicts no keypoints"),
        ({**network, "single_cls": True}, "single_cls makes one class of objects"),
        ({**square, "retrain": distilled}, "distills features into heads that find objects alone"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            check(config(tmp_path, "yolov8n-cls", "scenes-classes", **changes))
    with pytest.raises(DatasetError, match="a classification model needs classes of images"):
        check(config(tmp_path, "yolov8n-cls", "scenes", **square))
    with pytest.raises(DatasetError, match="says the class of each image alone"):
        check(config(tmp_path, "yolov8n", "scenes-classes"))
