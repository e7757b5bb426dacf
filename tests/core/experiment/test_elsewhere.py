"""A small detector that NNCF quantizes, by real steps: the control ``runtime`` from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from experiment_kit import bare_experiment
from quantize_kit import IMGSZ, NAMES, SESSION, label, write_detector, write_images

from prunebench.common.records import Exported, FileRef, Runtime
from prunebench.common.variant_record import VariantRecord
from prunebench.config.loading import parse_config
from prunebench.experiment.elsewhere import run_elsewhere
from prunebench.experiment.inputs import Experiment
from prunebench.experiment.make import accuracy_request
from prunebench.measuring import accuracy
from prunebench.measuring.inference import OnnxNetwork, read_input
from prunebench.results.run_folder import read_elsewhere
from prunebench.steps.events import Emit, Event, Stage

LOSS = 0.01
SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """A run with a baseline that cannot go on integers whole, and images it was labelled by."""
    home = tmp_path_factory.mktemp("home")
    folder = home / "run"
    write_detector(_made(folder / "variants" / "baseline") / "model.onnx", hostile=3)
    images = {split: write_images(home / split, 6) for split in SPLITS}
    for found in images.values():
        label(folder / "variants" / "baseline" / "model.onnx", found)
    # What nothing is labelled on has no accuracy of its own.
    (home / "val" / "labels" / f"{images['val'][0].stem}.txt").write_text("")
    described = {split: f"{split}/images" for split in SPLITS}
    data_yaml = home / "data.yaml"
    data_yaml.write_text(yaml.safe_dump({"path": str(home), "names": NAMES, **described}))
    config = parse_config(
        {
            "model": "model.pt",
            "image": {"height": IMGSZ[0], "width": IMGSZ[1]},
            "quantize": {"calibration_images": 5, "max_map50_loss": LOSS},
        }
    )
    return bare_experiment(
        config,
        folder,
        data_yaml=str(data_yaml),
        class_names=NAMES,
        split="test",
        images=tuple(map(str, images["test"])),
        runtimes=(Runtime(name="openvino-nncf", version="1"),),
    )


@pytest.fixture(scope="module")
def told() -> list[Event]:
    return []


@pytest.fixture(scope="module")
def row(experiment: Experiment, told: list[Event]) -> VariantRecord:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", experiment.out)
        # What it takes for a terminal gets bars, which must not mix with what is told.
        patch.setenv("FORCE_COLOR", "1")
        baseline = _baseline(experiment, told.append)
        (found,) = run_elsewhere(experiment, [baseline], told.append)
    assert found.failure is None
    return found


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _baseline(experiment: Experiment, emit: Emit) -> VariantRecord:
    onnx = FileRef.of(
        experiment.run_folder / "variants" / "baseline" / "model.onnx", experiment.run_folder
    )
    exported = Exported(onnx=onnx, parity=None, opset=17, imgsz=IMGSZ)
    request = accuracy_request(experiment, exported, experiment.run_folder)
    return VariantRecord(
        name="baseline",
        parent=None,
        steps=(),
        exported=exported,
        accuracy=accuracy.run(request, experiment.run_folder, emit),
    )


def test_it_is_a_control_in_int8_with_a_size_and_an_accuracy_of_its_own(
    experiment: Experiment, row: VariantRecord
) -> None:
    assert read_elsewhere(experiment.run_folder) == (row,)
    assert (row.name, row.parent) == ("baseline-openvino-nncf", "baseline")
    assert row.exported is not None
    assert row.exported.onnx.holds(experiment.run_folder)
    assert row.exported.onnx.path == "runtimes/baseline-openvino-nncf/model.openvino"
    assert row.runtime is not None
    assert row.runtime.precision == "float32"
    assert row.accuracy is not None
    assert row.accuracy.images == 6
    # It computes otherwise than the float file on purpose: its accuracy was judged.
    parity = row.exported.parity
    assert parity is not None
    assert parity.kept
    assert parity.max_score > 0.005


def test_layers_that_lose_too_much_by_our_evaluator_are_given_back_to_float(
    experiment: Experiment, row: VariantRecord
) -> None:
    int8, exported = row.quantization, row.exported
    assert int8 is not None
    assert exported is not None
    assert (int8.layers, int8.calibration_images) == (10, 5)
    assert 0 < int8.quantized < 10
    # What was made 10,000 times as large as the rest, and what divides it again.
    assert {"c3.conv", "c4.conv"} & {*int8.left_float}
    assert set(int8.left_float.values()) == {"NNCF left it in float"}
    assert int8.map50_float - int8.map50 <= LOSS
    values = [str(path) for path in sorted(Path(experiment.out).glob("val/images/*"))]
    shared = accuracy_request(experiment, exported, experiment.run_folder)
    judged = shared.model_copy(update={"images": tuple(values), "runtime": row.runtime})
    (found,) = accuracy.match_images(judged, lambda event: None).values()
    assert accuracy.figures(found)["map50"] == pytest.approx(int8.map50, abs=1e-6)


def test_no_test_image_decides_anything(experiment: Experiment, row: VariantRecord) -> None:
    (request,) = Path(experiment.out).glob(".steps/convert-*/convert.request.json")
    asked = json.loads(request.read_text())
    assert {Path(image).parts[-3] for image in asked["calibration"]} == {"train"}
    assert {Path(image).parts[-3] for image in asked["validation"]} == {"val"}


def test_the_file_runs_on_the_threads_asked_for_near_the_float_one(
    experiment: Experiment, row: VariantRecord
) -> None:
    assert row.exported is not None
    path = experiment.run_folder / row.exported.onnx.path
    network = OnnxNetwork(path, IMGSZ, SESSION, runtime=row.runtime)
    assert network.describe()["threads"] == "1"
    float_file = experiment.run_folder / "variants" / "baseline" / "model.onnx"
    pixels = read_input(Path(experiment.images[0]), IMGSZ, network.head)[0]
    wanted = OnnxNetwork(float_file, IMGSZ, SESSION)(pixels)[0]
    # Its boxes are of 10 pixels.
    assert np.abs(network(pixels)[0] - wanted)[:, :4].max() < 2


def test_nothing_is_kept_for_its_makers_and_its_progress_is_told(
    experiment: Experiment, row: VariantRecord, told: list[Event]
) -> None:
    # Where OpenVINO keeps an id of the user as soon as it reports anything.
    assert not (Path(experiment.out) / "intel").exists()
    (log,) = Path(experiment.out).glob(".steps/convert-*/convert.log")
    assert "Calculating ranking scores" in log.read_text()
    assert "\x1b" not in log.read_text()
    stages = [event.what for event in told if isinstance(event, Stage)]
    assert "quantizing by NNCF, calibrated on 5 images" in stages
    assert stages[-1] == "comparing on 4 images"


def test_a_loss_is_not_judged_on_images_that_show_nothing(experiment: Experiment) -> None:
    settings = experiment.config.accuracy.model_copy(update={"images": 1})
    config = experiment.config.model_copy(update={"accuracy": settings})
    asked = experiment.model_copy(update={"config": config})
    (found,) = run_elsewhere(asked, [_baseline(experiment, lambda event: None)], lambda event: None)
    assert found.failure is not None
    assert "none of the 1 images has a labelled object" in found.failure.reason
