"""Every file of a run's folder gone, cut in half or empty: what each command says of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from experiment_kit import bare_experiment
from report_kit import MIXED, make_run
from typer.testing import CliRunner

from prunebench.cli import app
from prunebench.common.errors import InputError
from prunebench.common.records import FileRef
from prunebench.experiment.prepare import EXPERIMENT_FILE
from prunebench.measuring.profile import Diagnosis, NetworkProfile
from prunebench.operating.gate.subjects import find_subject
from prunebench.operating.rebenchmark import open_rebenchmark
from prunebench.results.devices import DEVICES_FILE, Device, Devices
from prunebench.results.diagnoses import DIAGNOSES_FILE, Diagnoses
from prunebench.results.outcome import read_outcome
from prunebench.results.run import load_run
from prunebench.results.run_folder import (
    LATENCY_FOLDER,
    RANKING_FILE,
    read_run_config,
    read_variants,
    save_variant,
)

RUN, OTHER = "20260102T000000-abc", "20260101T000000-abc"
OWN = "variants/preserving-1"
"""The files of one variant stand for those of every other."""

CONFIG, RANKING, RESULT = "config.yaml", "ranking.json", "latency/result.json"
RECORD, ONNX = f"{OWN}/record.json", f"{OWN}/model.onnx"
DIAGNOSES, SAMPLES = f"latency/{DIAGNOSES_FILE}", "latency/samples.jsonl"
NAMED = ("environment.json", SAMPLES, f"{OWN}/detections.npz", f"{OWN}/curves.csv")
"""What the report says is missing, and is made without."""

PUSHED_AS_IT_IS = (ONNX, f"{OWN}/detections.npz", f"{OWN}/curves.csv")

DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
}

COMMANDS: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "report": (["report", "{run}"], (CONFIG, RANKING, RESULT, RECORD, DIAGNOSES, DEVICES_FILE)),
    "compare": (
        ["compare", "{other}", "{run}"],
        (CONFIG, RANKING, RESULT, RECORD, "environment.json", SAMPLES),
    ),
    "promote": (
        ["promote", "{run}", "preserving-1", "--anyway", "--registry", "{home}/registry"],
        (CONFIG, RANKING, RECORD, ONNX),
    ),
    "push": (
        ["push", "{run}", "--store", "file://{home}/store"],
        (CONFIG, RANKING, EXPERIMENT_FILE, RECORD),
    ),
    "rank": (["rank", "{run}/ranking.csv"], ("ranking.csv",)),
}
"""A command line, and the files without which it cannot say anything."""

READERS: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "load_run": (load_run, (CONFIG, RANKING)),
    "gate": (lambda run: _gated(run), (CONFIG, EXPERIMENT_FILE, RECORD)),
    "rebenchmark": (open_rebenchmark, (CONFIG, EXPERIMENT_FILE, RECORD, ONNX)),
}
"""What the other commands read a run's folder with."""


def _gated(run: Path) -> None:
    # A folder without a configuration is looked for in the history.
    if find_subject(f"{run}:preserving-1") is None:
        raise InputError("no run folder", where=run)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs side by side, the later one with every file a run can have."""
    home = tmp_path_factory.mktemp("whole")
    makers = (*MIXED[:2], next(maker for maker in MIXED if maker.name == "preserving-1"))
    for name in (OTHER, RUN):
        folder = home / name
        make_run(folder, makers, threads=(1,), rounds=4, frames=4)
        for variant in read_variants(folder):
            assert variant.exported is not None
            onnx = folder / variant.exported.onnx.path
            onnx.write_bytes(f"the model of {variant.name}".encode())
            exported = variant.exported.model_copy(update={"onnx": FileRef.of(onnx, folder)})
            known = {"exported": exported, "checkpoint": None}
            save_variant(folder, variant.model_copy(update=known))
        experiment = bare_experiment(read_run_config(folder), folder)
        (folder / EXPERIMENT_FILE).write_text(experiment.model_dump_json())
    devices = Devices(devices=(Device(name="pi5", ranking=read_outcome(home / RUN)),))
    (home / RUN / DEVICES_FILE).write_text(devices.model_dump_json())
    _diagnose(home / RUN)
    return home


def _diagnose(folder: Path) -> None:
    profile = NetworkProfile(
        convolutions=9,
        blocked=9,
        quantized=0,
        reorders=0,
        off_block={},
        weights=100,
        denormal_weights=0,
        mmacs=100.0,
        kernel_ms=2.0,
        time_shares={"Conv": 1.0},
    )
    found = Diagnosis(
        block=16, threads=1, variant=profile, baseline=profile, times_baseline=1.0, causes=()
    )
    diagnoses = Diagnoses(found={"pruned": found}, failures={})
    (folder / LATENCY_FOLDER / DIAGNOSES_FILE).write_text(diagnoses.model_dump_json())
    outcome = read_outcome(folder).model_copy(update={"diagnoses": diagnoses.explanations()})
    (folder / RANKING_FILE).write_text(outcome.model_dump_json())


FILES = (
    *(CONFIG, "environment.json", EXPERIMENT_FILE, RANKING, "ranking.csv", "report.md"),
    *(RESULT, SAMPLES, DIAGNOSES, DEVICES_FILE),
    *(RECORD, ONNX, f"{OWN}/detections.npz", f"{OWN}/curves.csv", f"{OWN}/README.md"),
)


def test_every_file_is_tried(whole: Path) -> None:
    run = whole / RUN
    found = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    others = {path for path in found if path.startswith("variants/") and OWN not in path}
    assert found - others == {*FILES, "report.html"}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_run_is_told_and_never_a_traceback(
    file: str, damage: str, whole: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    shutil.copytree(whole, home)
    run = home / RUN
    DAMAGES[damage](run / file)
    for name, (command, needed) in COMMANDS.items():
        given = [part.format(run=run, other=home / OTHER, home=home) for part in command]
        done = CliRunner().invoke(app, given)
        if name == "push" and done.exception is None:
            assert (f"copied as it is: {file}." in done.stderr) == (file in PUSHED_AS_IT_IS)
        _check(name, done.exception, file, damage, needed)
    for name, (read, needed) in READERS.items():
        error = None
        try:
            read(run)
        except InputError as told:
            error = told
        _check(name, error, file, damage, needed)
    if file in NAMED or (file == DIAGNOSES and damage == "missing"):
        first = (run / "report.md").read_text().split("## ")[1]
        assert f"Missing or damaged in the run's folder: {file}." in first


def test_a_ranked_variant_whose_folder_is_gone(whole: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(whole, home)
    shutil.rmtree(home / RUN / OWN)
    for command in ("report", "compare"):
        given = [p.format(run=home / RUN, other=home / OTHER) for p in COMMANDS[command][0]]
        error = CliRunner().invoke(app, given).exception
        assert f"{OWN}: the variant is gone; put it back" in str(error)


def _check(
    name: str, error: BaseException | None, file: str, damage: str, needed: tuple[str, ...]
) -> None:
    # That there never was one is no damage.
    optional = damage == "missing" and file in (DEVICES_FILE, DIAGNOSES)
    if file in needed and not optional:
        assert isinstance(error, InputError), f"{name} took {file} {damage} for whole"
        assert "\n" not in str(error)
        assert Path(file).name in str(error) or RUN in str(error)
    else:
        assert error is None, f"{name}, {file} {damage}: {error!r}"
