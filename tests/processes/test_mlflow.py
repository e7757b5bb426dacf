"""A finished run in MLflow, on a real server with a database and an artifact store."""

from __future__ import annotations

import contextlib
import csv
import os
import shlex
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run
from prefect_kit import free_port
from report_kit import MIXED, make_run
from typer.testing import CliRunner

from prunebench.cli import app
from prunebench.common.errors import ConfigError, StepError
from prunebench.config.loading import parse_config
from prunebench.config.mlflow import MlflowConfig
from prunebench.operating.destinations import check_destinations
from prunebench.operating.mlflow import PARENT_TAG, RUN_TAG, log_to_mlflow
from prunebench.results.outcome import read_outcome
from prunebench.results.run_folder import read_variants
from prunebench.steps.events import text_of

STARTUP_S = 180
EXPERIMENT = "pruned"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an MLflow server with one worker."""
    home, port = tmp_path_factory.mktemp("mlflow"), free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{home}/mlflow.db"]
    command += ["--artifacts-destination", str(home / "artifacts")]
    settings = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (home / "log").open("wb") as log:
        process = psutil.Popen(
            command, env={**os.environ, **settings}, cwd=home, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + STARTUP_S
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/health"):
                break
            assert process.poll() is None, (home / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield address
    finally:
        for one in [*process.children(recursive=True), process]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "20260101T000000-abc"
    make_run(folder, threads=(1, 2), rounds=4, frames=4)
    for variant in read_variants(folder):
        if variant.exported is not None:
            (folder / variant.exported.onnx.path).write_bytes(b"a model")
    return folder


@pytest.fixture(scope="module")
def client(server: str) -> MlflowClient:
    return MlflowClient(tracking_uri=server)


@pytest.fixture(scope="module")
def logged(server: str, folder: Path, client: MlflowClient) -> dict[str, Run]:
    """What the server has after the run was logged: by name of the run."""
    told: list[str] = []
    settings = MlflowConfig(uri=server, experiment=EXPERIMENT, models=True)
    first = log_to_mlflow(folder, settings, lambda event: told.append(text_of(event)))
    assert first.new
    number = len(MIXED)
    progress = [f"logged variant {done}/{number}" for done in range(1, number + 1)]
    assert told == [f"logging the run to {server}", *progress]
    runs = {run.info.run_name: run for run in runs_of(client)}
    assert runs[folder.name].info.run_id == first.id
    return runs


def runs_of(client: MlflowClient) -> list[Run]:
    experiment = client.get_experiment_by_name(EXPERIMENT)
    return list(client.search_runs([experiment.experiment_id]))


def test_a_run_is_a_parent_with_a_nested_run_per_variant(
    logged: dict[str, Run], folder: Path
) -> None:
    assert set(logged) == {folder.name, *(maker.name for maker in MIXED)}
    parent = logged.pop(folder.name)
    assert {run.data.tags[PARENT_TAG] for run in logged.values()} == {parent.info.run_id}
    assert {run.data.tags[RUN_TAG] for run in logged.values()} == {folder.name}
    status = {name: run.info.status for name, run in logged.items()}
    assert status == {m.name: "FAILED" if m.failure else "FINISHED" for m in MIXED}
    note = logged["preserving-2"].data.tags["mlflow.note.content"]
    assert note.startswith("Failed at export: parity: boxes differ by 3.1 px")
    logged[folder.name] = parent


def test_the_parent_has_the_settings_and_the_answer(logged: dict[str, Run], folder: Path) -> None:
    parent = logged[folder.name].data
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert parent.params["retrain.epochs"] == str(config["retrain"]["epochs"])
    assert parent.params["retrain.strategies.preserving.lr0"] == str(
        config["retrain"]["strategies"]["preserving"]["lr0"]
    )
    assert parent.params["version.torch"] == "2.14.1"
    advice = read_outcome(folder).rankings[0].advice
    assert {one.use: parent.tags[f"ship.{one.use}"] for one in advice} == {
        one.use: one.recommended or "none" for one in advice
    }


def test_figures_are_those_of_the_table(logged: dict[str, Run], folder: Path) -> None:
    with (folder / "ranking.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["rank"]]
    assert {row["threads"] for row in rows} == {"1", "2"}
    for row in rows:
        found = logged[row["variant"]].data.metrics
        for name in ("map50", "map50_low", "map50_high", "size_mb"):
            assert found[name] == pytest.approx(float(row[name]), rel=1e-3), name
        for name in ("latency_ms", "fps", "fps_low", "efficiency", "efficiency_high", "rounds"):
            figure = found[f"threads_{row['threads']}/{name}"]
            assert figure == pytest.approx(float(row[name]), rel=1e-3), name
        times = f"threads_{row['threads']}/times_baseline"
        assert (times in found) == bool(row["times_baseline"])
        if row["times_baseline"]:
            assert found[times] == pytest.approx(float(row["times_baseline"]), rel=1e-3)
        assert logged[row["variant"]].data.params["parameters"] == row["params"]
        assert logged[row["variant"]].data.params["verdict"] == row["verdict"]


def test_training_curves_have_their_epochs(logged: dict[str, Run], client: MlflowClient) -> None:
    run = logged["preserving-1"].info.run_id
    points = client.get_metric_history(run, "metrics/mAP50B")
    expected = [(epoch, 0.85 * epoch / 5) for epoch in range(1, 6)]
    assert [(p.step, p.value) for p in points] == pytest.approx(expected)


def test_files_come_with_it(logged: dict[str, Run], folder: Path, client: MlflowClient) -> None:
    parent = logged[folder.name].info.run_id
    names = {"report.html", "report.md", "ranking.csv", "ranking.json", "config.yaml"}
    assert {file.path for file in client.list_artifacts(parent)} == names
    report = Path(client.download_artifacts(parent, "report.html"))
    assert report.read_bytes() == (folder / "report.html").read_bytes()
    [model] = client.list_artifacts(logged["preserving-1"].info.run_id)
    assert (model.path, model.file_size) == ("model.onnx", len(b"a model"))


def test_it_is_logged_once_and_anew_where_an_attempt_ended_early(
    logged: dict[str, Run], server: str, folder: Path, client: MlflowClient
) -> None:
    parent = logged[folder.name].info.run_id
    command = ["mlflow", str(folder), "--uri", server, "--experiment", EXPERIMENT]
    again = CliRunner().invoke(app, command, catch_exceptions=False)
    assert again.stdout.strip().endswith(f"/runs/{parent}")
    assert len(runs_of(client)) == len(logged)
    client.update_run(parent, status="RUNNING")
    anew = CliRunner().invoke(app, command, catch_exceptions=False)
    assert not anew.stdout.strip().endswith(f"/runs/{parent}")
    assert len(runs_of(client)) == len(logged)


def test_a_server_that_does_not_answer_is_one_sentence(folder: Path) -> None:
    uri = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(StepError) as failed:
        log_to_mlflow(folder, MlflowConfig(uri=uri))
    again = f"prunebench mlflow {folder} --uri {uri}"
    assert (
        str(failed.value) == f"logging failed: {uri} does not answer; `{again}` logs the run later"
    )


def test_the_retry_that_is_named_logs_to_the_same_place(folder: Path) -> None:
    uri = f"http://127.0.0.1:{free_port()}"
    given = ["mlflow", str(folder), "--uri", uri, "--experiment", "a b", "--models"]
    first = CliRunner().invoke(app, given).exception
    named = str(first).split("`")[1]
    assert shlex.split(named) == ["prunebench", *given]
    assert str(CliRunner().invoke(app, shlex.split(named)[1:]).exception) == str(first)


@pytest.mark.parametrize(
    ("given", "where"),
    [
        (["--uri", "localhost:5000"], "--uri: mlflow.uri: it is not the address of a server"),
        (["--uri", "http://a:b@host"], "--uri: mlflow.uri: every run's folder shows it"),
        (["--uri", "http://host", "--experiment", ""], "--experiment: mlflow.experiment: "),
        (["--experiment", "x"], "config.yaml: the run names no server; give --uri"),
    ],
)
def test_a_wrong_option_is_blamed_itself(folder: Path, given: list[str], where: str) -> None:
    refused = CliRunner().invoke(app, ["mlflow", str(folder), *given]).exception
    assert isinstance(refused, ConfigError)
    assert where in str(refused)


def test_a_missing_extra_is_told_before_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    settings = MlflowConfig(uri="http://127.0.0.1:5000")
    with pytest.raises(ConfigError) as refused:
        check_destinations(None, settings, tmp_path / "out")
    assert refused.value.exit_code == 2
    assert "pip install 'prunebench[mlflow]'" in str(refused.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("uri", "part"),
    [
        ("sqlite:///mlflow.db", "not the address of a server"),
        ("http://", "not the address of a server"),
        ("http://me:secret@host:5000", "MLFLOW_TRACKING_PASSWORD"),
    ],
)
def test_what_is_no_server(uri: str, part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        parse_config({"model": "best.pt", "mlflow": {"uri": uri}})


def test_a_run_names_its_server_or_the_command_does(folder: Path) -> None:
    refused = CliRunner().invoke(app, ["mlflow", str(folder)])
    assert isinstance(refused.exception, ConfigError)
    assert "give --uri" in str(refused.exception)
