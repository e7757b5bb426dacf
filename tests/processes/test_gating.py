"""The gate on real ONNX files: measured side by side, and against a stored run."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from experiment_kit import bare_experiment
from latency_kit import IMGSZ, NC, write_detector, write_images
from report_kit import IMAGES, MIXED, make_run

from prunebench import cli
from prunebench.common.errors import InputError
from prunebench.common.records import FileRef
from prunebench.config.loading import Config, parse_config
from prunebench.experiment.inputs import EXPERIMENT_FILE, read_experiment
from prunebench.experiment.measure_and_rank import measure_latency, rank_run
from prunebench.operating.gate.decision import GateLimits
from prunebench.operating.gate.run import GateReport, run_gate
from prunebench.results.history.recording import record_run
from prunebench.results.history.store import Store, default_url
from prunebench.results.run_folder import LATENCY_FOLDER, read_variants

GENEROUS = GateLimits(latency_percent=100.0)
"""The same file on a busy host never doubles its time twice in a row."""

DEPTHS = {"baseline": 3, "pruned": 60}
"""Convolutions of each variant's model."""


def config_of(out: Path) -> Config:
    return parse_config(
        {
            "model": "best.pt",
            "data": "data.yaml",
            "out": str(out),
            "image": {"height": IMGSZ[0], "width": IMGSZ[1]},
            "latency": {
                "threads": [1],
                "rounds_min": 3,
                "rounds_max": 3,
                "seconds": 0.03,
                "warmup": 1,
                "images": 1,
                "paced": False,
            },
            "ranking": {"bootstrap": 200},
        }
    )


def make_real_run(folder: Path, image: Path) -> Path:
    """A finished run whose baseline is a fast and whose pruned variant a slow real detector."""
    make_run(folder, MIXED[:2], threads=(1,), rounds=3)
    config = config_of(folder.parent)
    variants = []
    for variant in read_variants(folder):
        home = folder / "variants" / variant.name
        write_detector(home / "model.onnx", depth=DEPTHS[variant.name])
        onnx = FileRef.of(home / "model.onnx", folder)
        assert variant.exported is not None
        exported = variant.exported.model_copy(update={"onnx": onnx, "imgsz": IMGSZ})
        variants.append(variant.model_copy(update={"exported": exported}))
        (home / "record.json").write_text(variants[-1].model_dump_json())
    experiment = bare_experiment(
        config,
        folder,
        class_names={index: f"class {index}" for index in range(NC)},
        images=(str(image),) * IMAGES,
    )
    values = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    (folder / "config.yaml").write_text(values)
    (folder / EXPERIMENT_FILE).write_text(experiment.model_dump_json())
    shutil.rmtree(folder / LATENCY_FOLDER)
    latency = measure_latency(experiment, variants, lambda event: None)
    rank_run(experiment, variants, latency)
    return folder


@pytest.fixture(autouse=True, scope="module")
def _own_lock(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A real measurement on this host must not make the tests wait."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("lock")))
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    return make_real_run(out / "run", write_images(out, 1)[0])


@pytest.fixture
def gate(tmp_path: Path) -> Callable[..., tuple[GateReport, list[str]]]:
    """Run the gate; the report and what it said meanwhile."""

    def call(
        candidate: str, baseline: str, limits: GateLimits = GENEROUS
    ) -> tuple[GateReport, list[str]]:
        said: list[str] = []
        report = run_gate(
            candidate, baseline, limits, tmp_path / "work", lambda event: said.append(event.what)
        )
        return report, said

    return call


def change_json(path: Path, change: Callable[[dict[str, object]], None]) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def test_a_worse_candidate_exits_4_after_a_confirmation(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["gate", f"{run}:pruned", f"{run}:baseline", "--json"]
    monkeypatch.setattr(sys, "argv", ["prunebench", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.run_app(cli.app)
    assert caught.value.code == 4
    captured = capsys.readouterr()
    report = GateReport.model_validate_json(captured.out)
    result = report.result
    assert report.method == "side by side"
    assert set(result.regressions) == {"pruned, 1 thread: latency", "pruned: accuracy"}
    accuracies = {variant.name: variant.accuracy for variant in read_variants(run)}
    loss = accuracies["baseline"].map50 - accuracies["pruned"].map50
    for findings in (result.findings, result.confirmation):
        by_metric = {finding.metric: finding for finding in findings}
        assert by_metric["latency"].change.estimate > 100
        assert by_metric["accuracy"].change.estimate == pytest.approx(loss)
    # Independent measurements of the latency, not the same one twice.
    assert result.findings[0].change != result.confirmation[0].change
    assert "again, because a regression is suspected" in captured.err
    assert "A second measurement confirms it" in " ".join(captured.err.split())


def test_the_same_file_passes_and_the_best_ranked_variant_is_named(
    run: Path, gate: Callable[..., tuple[GateReport, list[str]]]
) -> None:
    report, said = gate(str(run), f"{run}:baseline")
    assert report.result.passed
    assert report.candidate == "baseline, the best-ranked variant, of run run"
    assert report.baseline == "baseline of run run"
    assert {f.metric: f.standing for f in report.result.findings}["accuracy"] == "holds"
    assert "round 3 is measured" in said


def test_the_accuracy_of_a_few_images_is_not_checked(
    run: Path, tmp_path: Path, gate: Callable[..., tuple[GateReport, list[str]]]
) -> None:
    few = tmp_path / "few"
    shutil.copytree(run, few)
    images = read_experiment(few).images[:5]
    change_json(few / EXPERIMENT_FILE, lambda values: values.update(images=images))
    report, _ = gate(f"{few}:baseline", f"{few}:baseline")
    assert {finding.metric for finding in report.result.findings} == {"latency"}
    assert "Accuracy is not checked: 5 images are too few, 20 are needed." in report.notes


def test_without_its_file_the_stored_baseline_is_used(
    run: Path, tmp_path: Path, gate: Callable[..., tuple[GateReport, list[str]]]
) -> None:
    candidate, old = tmp_path / "candidate", tmp_path / "old"
    shutil.copytree(run, candidate)
    shutil.copytree(run, old)
    (old / "variants" / "baseline" / "model.onnx").unlink()
    # Its detections are still there, but of other images.
    change_json(old / EXPERIMENT_FILE, lambda values: values.update(data_digest="1" * 64))
    report, _ = gate(f"{candidate}:pruned", f"{old}:baseline")
    assert (report.method, report.baseline) == ("stored run", "baseline of run old")
    assert report.result.regressions == ("pruned, 1 thread: latency",)
    assert "Accuracy is not checked: the two were evaluated on different images." in report.notes


def test_without_its_folder_the_stored_baseline_is_used(
    run: Path, tmp_path: Path, gate: Callable[..., tuple[GateReport, list[str]]]
) -> None:
    candidate, old = tmp_path / "candidate", tmp_path / "old"
    shutil.copytree(run, candidate)
    shutil.copytree(run, old)
    with Store(default_url(tmp_path)) as store:
        record_run(store, old)
    shutil.rmtree(old)
    report, _ = gate(f"{candidate}:baseline", str(old))
    assert report.method == "stored run"
    assert report.baseline == "baseline, the best-ranked variant, of run old"
    assert report.result.passed
    unchecked = "Accuracy is not checked: the detections of one of the two are gone."
    assert unchecked in report.notes


def test_a_stored_baseline_of_another_host_is_refused(
    run: Path, tmp_path: Path, gate: Callable[..., tuple[GateReport, list[str]]]
) -> None:
    old = tmp_path / "old"
    shutil.copytree(run, old)
    (old / "variants" / "baseline" / "model.onnx").unlink()
    change_json(
        old / LATENCY_FOLDER / "result.json",
        lambda values: values["fingerprint"].update(cpu="another"),
    )
    with pytest.raises(InputError, match=r"measured on another host \(cpu: another -> "):
        gate(f"{run}:pruned", f"{old}:baseline")


@pytest.mark.parametrize(
    ("spoil", "candidate", "baseline", "sentence"),
    [
        (None, "nowhere:pruned", "run:pruned", "not a variant in a run folder; give RUNFOLDER"),
        (None, "run:prund", "run", "no variant prund; choose among baseline, pruned"),
        (None, "run:pruned", "gone:pruned", "there is no history yet"),
        ("model.onnx", "run:pruned", "run:baseline", "pruned of run run is gone or has changed"),
        ("image", "run:pruned", "run:baseline", "an image that latency is measured on is gone"),
        ("letterbox", "run:pruned", "other:pruned", "differ in input size or classes"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    run: Path,
    tmp_path: Path,
    gate: Callable[..., tuple[GateReport, list[str]]],
    spoil: str | None,
    candidate: str,
    baseline: str,
    sentence: str,
) -> None:
    shutil.copytree(run, tmp_path / "run")
    shutil.copytree(run, tmp_path / "other")
    if spoil == "model.onnx":
        (tmp_path / "run" / "variants" / "pruned" / "model.onnx").write_bytes(b"changed")
    elif spoil == "image":
        change_json(tmp_path / "run" / EXPERIMENT_FILE, lambda v: v.update(images=["gone.png"]))
    elif spoil == "letterbox":
        record = tmp_path / "other" / "variants" / "pruned" / "record.json"
        change_json(record, lambda v: v["exported"].update(imgsz=[192, 320]))
    with pytest.raises(InputError) as caught:
        gate(f"{tmp_path}/{candidate}", f"{tmp_path}/{baseline}")
    assert sentence in str(caught.value)
