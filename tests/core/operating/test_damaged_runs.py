"""Every file of a run's folder gone, cut in half or empty: what each command says of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile_kit import content_of
from typer.testing import CliRunner
from whole_run_kit import OTHER, OWN, RUN, make_whole_runs

from prunebench.cli import app
from prunebench.common.errors import InputError
from prunebench.experiment.inputs import EXPERIMENT_FILE, read_experiment
from prunebench.operating.devices import write_devices
from prunebench.operating.gate.subjects import find_subject
from prunebench.operating.rebenchmark import open_rebenchmark
from prunebench.operating.registry import promote, read_registry
from prunebench.operating.store.runs import fetch_run, open_store, push_run
from prunebench.results.devices import Device
from prunebench.results.diagnoses import DIAGNOSES_FILE
from prunebench.results.history.recording import record_run
from prunebench.results.history.store import Store
from prunebench.results.report.stored import read_stored_run
from prunebench.results.run import load_run
from prunebench.results.run_folder import DEVICES_FILE

CONFIG, RANKING, RESULT = "config.yaml", "ranking.json", "latency/result.json"
RECORD, ONNX = f"{OWN}/record.json", f"{OWN}/model.onnx"
DIAGNOSES, SAMPLES = f"latency/{DIAGNOSES_FILE}", "latency/samples.jsonl"
NAMED = ("environment.json", SAMPLES, f"{OWN}/detections.npz", f"{OWN}/curves.csv")
"""What the report says is missing, and is made without."""

RECORDED = (CONFIG, RANKING, RESULT, RECORD, "environment.json", SAMPLES)
PUSHED = (CONFIG, RANKING, EXPERIMENT_FILE, RECORD)
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
        RECORDED,
    ),
    "promote": (
        ["promote", "{run}", "preserving-1", "--anyway", "--registry", "{home}/registry"],
        (CONFIG, RANKING, RECORD, ONNX),
    ),
    "push": (
        ["push", "{run}", "--store", "file://{home}/store"],
        PUSHED,
    ),
    "rank": (["rank", "{run}/ranking.csv"], ("ranking.csv",)),
}
"""A command line, and the files without which it cannot say anything."""

READERS: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "load_run": (load_run, (CONFIG, RANKING)),
    "gate": (lambda run: _gated(run), (CONFIG, EXPERIMENT_FILE, RECORD)),
    "mlflow": (read_stored_run, (CONFIG, RANKING, RESULT, RECORD, DIAGNOSES)),
    "devices": (lambda run: _answered(run), (CONFIG, RANKING, RESULT, RECORD, DIAGNOSES)),
    "history": (lambda run: _recorded(run), RECORDED),
    "fetch": (lambda run: _fetched(run), PUSHED),
    "accuracy-check": (lambda run: _promoted(run), (CONFIG, EXPERIMENT_FILE, RECORD, ONNX)),
    "rebenchmark": (open_rebenchmark, (CONFIG, EXPERIMENT_FILE, RECORD, ONNX)),
}
"""What the other commands read a run's folder with."""


def _gated(run: Path) -> None:
    # A folder without a configuration is looked for in the history.
    if find_subject(f"{run}:preserving-1") is None:
        raise InputError("no run folder", where=run)


def _promoted(run: Path) -> None:
    registry = run.parent / "registry"
    (entry,) = read_registry(registry)
    entry.subject(registry)
    read_experiment(entry.run_folder(registry))


def _answered(run: Path) -> None:
    again = shutil.copytree(run, run.parent / "answered" / run.name)
    write_devices(again, (Device(name="pi5", failure="it was switched off"),))
    assert "it was switched off" in (again / "report.md").read_text()


def _recorded(run: Path) -> None:
    with Store(f"sqlite:///{run.parent}/another.db", create=True) as store:
        record_run(store, run)


def _fetched(run: Path) -> None:
    store = open_store(f"file://{run.parent}/another-store", run.parent)
    push_run(run, store)
    fetched = content_of(fetch_run(run.name, store, run.parent / "elsewhere"))
    sent = content_of(run)
    assert {name for name in fetched if not name.startswith("images")} == sent.keys()
    assert {name for name in sent if fetched[name] != sent[name]} == {EXPERIMENT_FILE}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = make_whole_runs(tmp_path_factory.mktemp("whole"))
    promote(home / RUN, "preserving-1", home / "registry", anyway=True)
    return home


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
    if file in NAMED or (file in (DIAGNOSES, DEVICES_FILE) and damage == "missing"):
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
    # The report is made without it, and says so.
    told = damage == "missing" and file in (DEVICES_FILE, DIAGNOSES)
    if file in needed and not told:
        assert isinstance(error, InputError), f"{name} took {file} {damage} for whole"
        assert "\n" not in str(error)
        assert Path(file).name in str(error) or RUN in str(error)
    else:
        assert error is None, f"{name}, {file} {damage}: {error!r}"
