"""The main flow on tiny real data: every step real, under one Prefect server."""

from __future__ import annotations

import contextlib
import csv
import json
import logging
import re
import shutil
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from history_kit import rewrite_samples
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.exceptions import ParameterTypeError

from flows.accuracy_check import accuracy_check
from flows.rebenchmark import rebenchmark
from flows.regression import regression
from flows.run_experiment import run_experiment
from prunebench.common.cores import usable_cores
from prunebench.common.errors import InputError
from prunebench.common.records import sha256_of
from prunebench.common.variant_record import VariantRecord
from prunebench.config.loading import parse_config
from prunebench.experiment.inputs import read_experiment
from prunebench.experiment.make import make_variant
from prunebench.experiment.prepare import prepare
from prunebench.measuring.latency.raw import SENTINEL, Sample
from prunebench.operating.registry import promote, read_registry
from prunebench.operating.store.files import FileStore
from prunebench.operating.store.runs import fetch_run, push_run
from prunebench.results.diagnoses import read_diagnoses
from prunebench.results.history.reading import history
from prunebench.results.history.store import Store, default_url
from prunebench.results.outcome import read_outcome
from prunebench.results.run_folder import read_variants
from prunebench.steps.events import Event, listening, text_of
from tasks.cores import CoreBudget
from tasks.regression_events import REGRESSION_EVENT
from tests.conftest import share_steps, tiny_values

NAMES = ("baseline", "pruned", "standard-1", "preserving-1", "retrained-1")
TRAINED = {"standard-1", "preserving-1", "retrained-1"}


def values(out: Path, retrain: Any = None, **changes: Any) -> dict[str, Any]:
    """A configuration that trains two variants at once, and the control that is on by default."""
    settings = {"parallel_trainings": 2, "control": True, **(retrain or {})}
    return tiny_values(out, retrain=settings, **changes)


def ended(out: Path, **changes: Any) -> tuple[Any, list[dict[str, Any]]]:
    """State and progress events of one run of the flow."""
    events: list[Event] = []
    with listening(events.append):
        state = run_experiment(parse_config(values(out, **changes)), return_state=True)
    return state, events


def log_of(state: Any, last: str) -> list[tuple[int, str]]:
    """Level and text of each entry in the log of a flow run, once the server has the last one."""
    wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[state.state_details.flow_run_id]))
    deadline = time.monotonic() + 60
    with get_client(sync_client=True) as client:
        while time.monotonic() < deadline:
            found = [(log.level, log.message) for log in client.read_logs(wanted, limit=200)]
            if any(last in text for _, text in found):
                return found
            time.sleep(0.2)
    pytest.fail(f"the log never had {last}: {found}")


def trained(events: list[Event]) -> set[str]:
    """Variants whose training did at least one epoch."""
    return {event.variant for event in events if event.kind == "epoch"}


def trained_again(out: Path, **changes: Any) -> set[str]:
    """Variants that are trained where each is made again, and no more done with it."""
    events: list[Event] = []
    experiment = prepare(parse_config(values(out, **changes)))
    made: dict[str, VariantRecord] = {}
    for planned in experiment.variants:
        parent = made.get(planned.parent or "")
        baseline = made.get("baseline")
        made[planned.name] = make_variant(experiment, planned, parent, baseline, events.append)
    return trained(events)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return share_steps(tmp_path_factory.mktemp("runs"), tmp_path_factory)


class Trainings:
    """Watches the training processes of this one while the block runs.

    Attributes:
        at_once: Most that were alive at a time.
        threads: What each was told to compute with.
    """

    def __init__(self) -> None:
        self.at_once = 0
        self.threads: set[str] = set()
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch)

    def __enter__(self) -> Trainings:
        self._watcher.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.1):
            with contextlib.suppress(psutil.Error):
                children = psutil.Process().children()
                alive = [child for child in children if "train" in child.cmdline()]
                self.at_once = max(self.at_once, len(alive))
                self.threads |= {child.environ()["OMP_NUM_THREADS"] for child in alive}


@pytest.fixture(scope="module")
def trainings() -> Trainings:
    return Trainings()


@pytest.fixture(scope="module")
def first_ended(out: Path, trainings: Trainings) -> tuple[Any, list[dict[str, Any]]]:
    with pytest.MonkeyPatch.context() as patch, trainings:
        # With a core for every step that may be under way, only their own limit keeps trainings
        # apart; with two, an export in between may.
        patch.setattr("tasks.cores._budget", CoreBudget(2 * usable_cores() + 2))
        return ended(out)


@pytest.fixture(scope="module")
def first(first_ended: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    state, events = first_ended
    return state.result(), events


def test_every_variant_is_made_measured_and_ranked(first: Any) -> None:
    outcome, events = first
    folder = Path(outcome["folder"])
    assert outcome["failed"] == []
    assert trained(events) == TRAINED
    ranking = read_outcome(folder).rankings[0]
    assert {row.name for row in ranking.rows} == set(NAMES)
    for name in NAMES:
        files = {path.name for path in (folder / "variants" / name).iterdir()}
        assert {"model.pt", "model.onnx", "detections.npz", "record.json"} <= files
        assert ("widths.yaml" in files) == (name == "pruned")
    for name in ("config.yaml", "environment.json", "ranking.csv", "report.html", "report.md"):
        assert (folder / name).stat().st_size > 0
    with (folder / "ranking.csv").open() as stream:
        assert {row["variant"] for row in csv.DictReader(stream)} == set(NAMES)
    diagnoses = read_diagnoses(folder)
    assert diagnoses is not None
    assert diagnoses.failures == {}
    assert set(diagnoses.found) == {"pruned", "preserving-1"}
    assert (
        read_outcome(folder).diagnoses == diagnoses.not_faster(ranking, "baseline").explanations()
    )


@pytest.mark.skipif(usable_cores() < 2, reason="one core has nothing to share")
def test_two_trainings_share_the_host(first: Any, trainings: Trainings) -> None:
    assert trainings.at_once == 2, "one waited for the other"
    assert trainings.threads == {str(usable_cores() // 2)}


def test_the_audit_says_what_each_variant_is(first: Any) -> None:
    variants = {v.name: v for v in read_variants(Path(first[0]["folder"]))}
    verdicts = {name: variants[name].audit.verdict for name in NAMES}
    assert verdicts == {
        "baseline": "unpruned",
        "pruned": "pruned",
        "standard-1": "restored",
        "preserving-1": "preserved",
        "retrained-1": "unpruned",
    }
    used = {name: variants[name].training.arguments["lr0"] for name in TRAINED}
    assert used["retrained-1"] == used["preserving-1"] == 0.001 != used["standard-1"]
    counts = {name: variants[name].audit.structure.parameters for name in NAMES}
    assert counts["baseline"] == counts["standard-1"] == counts["retrained-1"] == 3_012_213
    assert counts["pruned"] == counts["preserving-1"] < counts["baseline"]


def test_the_result_is_json_and_the_ui_has_the_tables(first: Any) -> None:
    json.dumps(first[0])
    keys = [
        "ranking-tiny-1-threads",
        "audit-tiny",
        "report-tiny",
        "training-preserving-1",
        "latency-tiny-pruned",
        "files-tiny",
    ]
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=keys))
        )
    assert {artifact.key for artifact in found} == set(keys)


def test_the_log_of_the_run_says_what_happens(first_ended: Any) -> None:
    state, _ = first_ended
    found = log_of(state, "ranked at 1 thread: ")
    texts = [text for _, text in found]
    for start in (
        "pruned: step prune",
        "preserving-1: preserved, ",
        "standard-1: restored, ",
        "preserving-1: epoch 1/1, loss ",
        "baseline: mAP50 ",
        "latency: round 3 measured, ",
    ):
        assert len([text for text in texts if text.startswith(start)]) == 1, texts
    assert len([text for text in texts if text.startswith("latency: round ")]) == 3
    (order,) = [text for text in texts if text.startswith("ranked at 1 thread: ")]
    assert all(f" {name}" in order for name in NAMES)
    assert not [text for text in texts if ", batch " in text]


@pytest.fixture(scope="module")
def second(
    out: Path, first: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, list[dict[str, Any]]]:
    """State and events of the same run again, whose history is lost while it measures.

    So is the server where it is to be logged.
    """
    history = tmp_path_factory.mktemp("history") / "history.db"
    events: list[Event] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Empty)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def lose(event: Event) -> None:
        events.append(event)
        if event.kind == "timed":
            history.write_text("not a database, " * 100)
            server.shutdown()
            server.server_close()

    with listening(lose):
        there = {"uri": f"http://127.0.0.1:{server.server_port}"}
        config = parse_config(values(out, history=f"sqlite:///{history}", mlflow=there))
        return run_experiment(config, return_state=True), events


class Empty(BaseHTTPRequestHandler):
    """An MLflow server that has nothing yet."""

    def do_GET(self) -> None:
        body = b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none"}'
        self.send_response(404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_a_second_run_trains_nothing_and_measures_again(first: Any, second: Any) -> None:
    state, events = second
    outcome = state.result()
    assert outcome["folder"] != first[0]["folder"]
    assert trained(events) == set()
    before = read_outcome(Path(first[0]["folder"])).rankings[0]
    after = read_outcome(Path(outcome["folder"])).rankings[0]
    assert {r.name: r.map50 for r in after.rows} == {r.name: r.map50 for r in before.rows}
    assert {r.name: r.fps for r in after.rows} != {r.name: r.fps for r in before.rows}


def test_a_history_lost_during_a_run_loses_no_ranking(second: Any) -> None:
    state, _ = second
    assert state.is_completed()
    assert "not in the history: " in state.message
    assert "file is not a database" in state.message
    assert read_outcome(Path(state.result()["folder"])).rankings[0].rows


def test_an_mlflow_server_out_of_reach_loses_no_run(second: Any) -> None:
    state, events = second
    assert state.is_completed()
    told = re.compile(
        r"not in MLflow: logging failed: http://127.0.0.1:\d+ does not answer; `prunebench mlflow"
    )
    assert told.search(state.message)
    assert [event for event in events if told.search(text_of(event))]


def test_a_changed_hyper_parameter_runs_only_its_strategy_again(out: Path, first: Any) -> None:
    strategies = {"standard": {}, "preserving": {"lr0": 0.0005}}
    assert trained_again(out, retrain={"strategies": strategies, "control": False}) == {
        "preserving-1"
    }


def test_a_file_that_changed_is_not_trusted(out: Path, first: Any) -> None:
    variants = {v.name: v for v in read_variants(Path(first[0]["folder"]))}
    checkpoint = variants["standard-1"].checkpoint
    assert checkpoint is not None
    (damaged,) = (
        file for file in out.glob(".steps/train-*/model.pt") if sha256_of(file) == checkpoint.sha256
    )
    damaged.unlink()
    damaged.write_bytes(b"damaged")
    assert "standard-1" in trained_again(out, retrain={"control": False})
    assert damaged.stat().st_size > 1000


def test_a_failed_variant_takes_down_only_what_depends_on_it(out: Path, first: Any) -> None:
    strategies = {"standard": {"on_restore": "fail"}}
    state, _ = ended(out, retrain={"rounds": 2, "strategies": strategies, "control": False})
    outcome = state.result()
    assert outcome["failed"] == ["standard-1", "standard-2"]
    ranking = read_outcome(Path(outcome["folder"])).rankings[0]
    ranked = {row.name for row in ranking.rows}
    assert ranked == {"baseline", "pruned"}
    failed = [text for level, text in log_of(state, "ranked at") if level == logging.ERROR]
    assert any(text.startswith("standard-1: failed: ") for text in failed), failed
    reasons = {failed.name: failed.reason for failed in ranking.failures}
    assert "3,012,213" in reasons["standard-1"]
    assert reasons["standard-2"] == "the variant it is made from failed"


@pytest.fixture
def registry(first: Any, tmp_path: Path) -> Path:
    """A registry with a variant whose run says that it once took next to no time.

    Three rounds on a busy host show nothing smaller.
    """
    source = Path(first[0]["folder"])
    folder = Path(shutil.copytree(source, tmp_path / "runs" / source.name))

    def quicker(samples: list[Sample]) -> list[Sample]:
        return [
            one
            if one.variant == SENTINEL
            else replace(one, model_ms=tuple(ms / 1000 for ms in one.model_ms))
            for one in samples
        ]

    rewrite_samples(folder, quicker)
    promote(folder, "pruned", tmp_path / "registry", anyway=True)
    return tmp_path / "registry"


def test_what_became_slower_or_less_accurate_is_raised_and_marked(registry: Path) -> None:
    out = registry.parent / "runs"
    state = rebenchmark(out=str(out), registry=str(registry), return_state=True)
    assert state.message == "regression confirmed: pruned"
    (found,) = state.result()["regressions"]
    # Measured once to suspect it, once to confirm it.
    assert len(list(out.glob("*-rebenchmark"))) == 2
    assert event_of("tiny-pruned")["payload"]["sentence"] == found["sentence"]

    regression("tiny-pruned", found["sentence"], str(registry))
    (entry,) = read_registry(registry)
    assert (entry.stage, entry.note) == ("regressed", found["sentence"])

    assert accuracy_check(str(registry), return_state=True).is_completed()
    record = entry.run_folder(registry) / "variants" / "pruned" / "record.json"
    values = json.loads(record.read_text())
    values["accuracy"]["map50"] += 0.1
    record.write_text(json.dumps(values))
    checked = accuracy_check(str(registry), return_state=True)
    assert checked.is_failed()
    assert "was recorded" in str(checked.message)
    assert "was recorded" in str(read_registry(registry)[0].note)


def event_of(entry: str) -> dict[str, Any]:
    """The regression event of an entry, once the server has it."""
    wanted = {"event": {"name": [REGRESSION_EVENT]}, "occurred": {"since": "2020-01-01T00:00:00Z"}}
    deadline = time.monotonic() + 60
    with get_client(sync_client=True) as client:
        while time.monotonic() < deadline:
            answer = client.request("POST", "/events/filter", json={"filter": wanted}).json()
            found = [one for one in answer["events"] if one["payload"]["entry"] == entry]
            if found:
                return dict(found[0])
            time.sleep(0.2)
    pytest.fail(f"no event of {entry}")


def test_parameters_that_are_used_last_are_checked_first(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    state = rebenchmark(out=str(tmp_path), store=f"file://{tmp_path}/file/s", return_state=True)
    assert "store: the store file://" in str(state.message)
    with pytest.raises(ParameterTypeError, match="device"):
        rebenchmark.validate_parameters({"device": "no/device"})


def test_a_run_from_the_store_is_measured_again_trains_nothing_and_is_compared(
    first: Any, tmp_path: Path
) -> None:
    source, url = Path(first[0]["folder"]), f"file://{tmp_path}/store"
    store = FileStore(url, tmp_path / "cache", 1)
    push_run(source, store)
    events: list[Event] = []
    here = tmp_path / "runs"
    with listening(events.append):
        state = rebenchmark(source.name, str(here), store=url, return_state=True)
    (outcome,) = state.result()["runs"]
    assert trained(events) == set()
    # Nothing of the other host was needed, and the result went back.
    assert Path(outcome["folder"]).parent == here
    images = read_experiment(here / source.name).images
    assert [Path(image).is_relative_to(here) for image in images[:3]] == [True, True, False]
    again = fetch_run(Path(outcome["folder"]).name, store, tmp_path / "elsewhere")
    assert read_outcome(again).run == again.name
    with pytest.raises(InputError, match="it is not the name of a run"):
        fetch_run("../runs", store, tmp_path)
    comparison = outcome["comparison"]
    assert comparison["host_differences"] == []
    assert {change["variant"] for change in comparison["changes"]} == set(NAMES)
    assert (Path(outcome["folder"]) / "comparison.json").is_file()
    with Store(default_url(Path(outcome["folder"]).parent)) as store:
        names = {point.run for point in history(store)}
    assert {Path(first[0]["folder"]).name, Path(outcome["folder"]).name} <= names
