"""The main flow on a Dask cluster whose workers share no folder with it: files travel by S3."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from dask_kit import Cluster, dask_cluster
from harness_kit import harness
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect_dask import DaskTaskRunner
from s3_kit import BUCKET, CREDENTIALS, s3_server

from flows.run_experiment import run_experiment
from prunebench.common.errors import ConfigError, StepError
from prunebench.config.loading import Config, parse_config
from prunebench.config.strategy_settings import PreservingSettings
from prunebench.experiment.inputs import Experiment, read_experiment
from prunebench.experiment.run_step import checkpoint_of, training_request
from prunebench.operating.store.datasets import ArchivedDataset, archive_dataset
from prunebench.operating.store.remote_steps import pack
from prunebench.operating.store.runs import fetch_run, open_store
from prunebench.results.outcome import read_outcome
from prunebench.results.run_folder import read_variants
from prunebench.steps.events import Event, listening, text_of
from prunebench.variants.retraining.step import Request as TrainRequest
from tasks.dask_cluster import ON_GPU, ClusterSteps, check_cluster, run_on_worker
from tests.conftest import tiny_values

pytestmark = pytest.mark.timeout(1200)
NAMES = {"baseline", "pruned", "standard-1", "preserving-1"}
STORE = f"s3://{BUCKET}/dask"
GONE_S = 20
WHERE = re.compile(r"(\w+) on the Dask worker (\w+) \(.*, process (\d+)\)")


@pytest.fixture(scope="module", autouse=True)
def prefect_harness() -> Iterator[None]:
    with harness():
        yield


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with pytest.MonkeyPatch.context() as patch, s3_server() as s3:
        for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": s3.address}.items():
            patch.setenv(name, value)
        with dask_cluster(tmp_path_factory.mktemp("cluster"), "one", "two") as found:
            yield found


def config_of(out: Path, address: str, **changes: Any) -> Config:
    values = tiny_values(out, engine="dask", address=address, store=STORE, **changes)
    return parse_config(values)


class Run(NamedTuple):
    """A run in which a worker was killed in the first training that was under way.

    Attributes:
        folder: The run's folder.
        events: Its progress.
        killed: Name of the worker.
        training: The training it was at.
    """

    folder: Path
    events: list[Event]
    killed: str
    training: psutil.Process


@pytest.fixture(scope="module")
def run(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Run:
    events: list[Event] = []
    killed: list[tuple[str, psutil.Process]] = []
    lock = threading.Lock()

    def kill(event: Event) -> None:
        with lock:
            events.append(event)
            at = workers_of("train", events)
            # What a training says of itself: a quick one has no time to tell of its batches.
            told = event.kind in ("stage", "batch") and not WHERE.match(text_of(event))
            if killed or len(at) < 2 or not told or event.variant not in at:
                return
            name = at[event.variant]
            training = trainings(cluster).get(name)
            if training is None:
                return
            killed.append((name, training))
            cluster.workers[name].kill()

    with listening(kill):
        config = config_of(tmp_path_factory.mktemp("runs"), cluster.address)
        state = run_experiment(config, return_state=True)
    assert state.result()["failed"] == []
    ((name, training),) = killed
    return Run(Path(state.result()["folder"]), events, name, training)


def workers_of(step: str, events: list[Event]) -> dict[str, str]:
    """The worker that each variant's step is at, or was at last."""
    told = [(e.variant, WHERE.match(text_of(e))) for e in events if e.variant]
    return {name: found[2] for name, found in told if found is not None and found[1] == step}


def test_both_workers_trained_and_what_the_killed_one_had_is_done_by_the_other(
    cluster: Cluster, run: Run
) -> None:
    told = [WHERE.match(text_of(event)) for event in run.events]
    processes = {(found[2], int(found[3])) for found in told if found is not None}
    assert processes == {(name, worker.pid) for name, worker in cluster.workers.items()}
    assert not run.training.is_running(), "the killed worker left its training behind"
    (other,) = set(cluster.workers) - {run.killed}
    assert workers_of("train", run.events) == {"standard-1": other, "preserving-1": other}
    assert {row.name for row in read_outcome(run.folder).rankings[0].rows} == NAMES
    done = [json.loads(path.read_text()) for path in run.folder.parent.glob(".steps/*/done.json")]
    ran_on = {(one["step"], (one["ran_on"] or "here").split(" (")[0]) for one in done}
    assert {("train", other), ("accuracy", "here")} <= ran_on
    for step in ("prune", "train", "export"):
        assert (step, "here") not in ran_on


def test_progress_and_files_came_back_and_nothing_stays_on_a_worker(
    cluster: Cluster, run: Run
) -> None:
    trained = {event.variant for event in run.events if event.kind == "epoch"}
    assert trained == {"standard-1", "preserving-1"}
    steps = list(run.folder.parent.glob(".steps/train-*"))
    assert len(steps) == 2
    assert all((path / "train.log").is_file() for path in steps)
    for name, home in cluster.folders.items():
        assert list(home.glob("**/prunebench/datasets/*/data.yaml"))
        left = list(home.glob("**/prunebench/.steps/[a-z]*"))
        assert len(left) == (1 if name == run.killed else 0)


def test_trainings_go_to_the_worker_that_offers_a_gpu(cluster: Cluster, tmp_path: Path) -> None:
    events: list[Event] = []
    with (
        dask_cluster(tmp_path / "cluster", "plain", "gpu", gpu="gpu") as two,
        listening(events.append),
    ):
        strategies = {"strategies": {"preserving": {"lr0": 0.001}}}
        config = config_of(tmp_path / "runs", two.address, retrain=strategies)
        state = run_experiment(config, return_state=True)
    assert state.result()["failed"] == []
    told = [WHERE.match(text_of(event)) for event in events]
    at = {(found[1], found[2]) for found in told if found is not None}
    assert {worker for step, worker in at if step in ON_GPU} == {"gpu"}
    assert {step for step, _ in at} == {"prune", "train", "export"}
    folder = Path(state.result()["folder"])
    (training,) = [v.training for v in read_variants(folder) if v.training is not None]
    assert training.trained_on is not None
    assert training.trained_on.device == "cpu", "nobody saw a GPU there"
    ran = [json.loads(path.read_text()) for path in folder.parent.glob(".steps/*/done.json")]
    assert {one["step"] for one in ran if one["ran_on"] is None} == {"accuracy"}
    assert (folder / "latency" / "result.json").is_file(), "measured here"


def test_the_run_itself_is_in_the_store(run: Run, tmp_path: Path) -> None:
    name = run.folder.name
    taken = fetch_run(name, open_store(STORE, tmp_path), tmp_path)
    assert read_outcome(taken).rankings == read_outcome(run.folder).rankings


@pytest.fixture(scope="module")
def long_training(run: Run) -> tuple[Experiment, ArchivedDataset, TrainRequest]:
    """A training that no test waits for, and what it needs."""
    experiment = read_experiment(run.folder)
    pruned = next(v for v in read_variants(run.folder) if v.name == "pruned")
    request = training_request(
        experiment,
        "preserving",
        PreservingSettings(),
        checkpoint=str(checkpoint_of(experiment, pruned)),
        round=1,
        epochs=500,
    )
    out = run.folder.parent
    data_yaml, store = Path(experiment.data_yaml), open_store(STORE, out)
    dataset = archive_dataset(data_yaml, experiment.data_digest, store, out)
    return experiment, dataset, request


def test_a_step_that_nobody_waits_for_any_more_is_killed(
    cluster: Cluster, run: Run, long_training: tuple[Any, Any, Any]
) -> None:
    _, dataset, request = long_training
    store = open_store(STORE, run.folder.parent)
    remote = pack("train", "train-long", request, dataset, store, threads=1)
    with DaskTaskRunner(address=cluster.address) as runner:
        runner.submit(run_on_worker, {"remote": remote, "topic": "test"})
        wait_until(lambda: bool(trainings(cluster)), 120)
        (training,) = trainings(cluster).values()
    # Closed, as it is when the run is cancelled or its process is killed.
    psutil.wait_procs([training], timeout=GONE_S)
    assert not training.is_running()
    assert trainings(cluster) == {}


def test_a_cluster_that_lost_its_last_worker_is_not_waited_for_for_ever(
    cluster: Cluster,
    run: Run,
    long_training: tuple[Any, Any, Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    experiment, dataset, request = long_training
    monkeypatch.setattr("tasks.dask_cluster.LOOK_S", 0.5)
    monkeypatch.setattr("tasks.dask_cluster.WITHOUT_WORKER_S", 1)

    def kill(event: Event) -> None:
        if event.kind in ("batch", "epoch"):
            for worker in cluster.workers.values():
                worker.kill()

    with DaskTaskRunner(address=cluster.address) as runner:
        steps = ClusterSteps(experiment, dataset, runner)
        with pytest.raises(StepError, match="the Dask cluster had no worker for 1 s"):
            steps.run("train", request, tmp_path / "train-last", threads=1, on_event=kill)
    with pytest.raises(ConfigError, match="has no worker; start `dask worker tcp://"):
        check_cluster(config_of(tmp_path, cluster.address))


def test_a_cluster_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        temporary_settings({PREFECT_API_URL: None}),
        pytest.raises(ConfigError, match="there is no Prefect server that its workers reach"),
    ):
        check_cluster(config_of(tmp_path, "tcp://127.0.0.1:9"))
    monkeypatch.setattr("tasks.dask_cluster.CONNECT_S", 1)
    with pytest.raises(ConfigError, match=r"no Dask scheduler answers at tcp://127.0.0.1:9"):
        check_cluster(config_of(tmp_path, "tcp://127.0.0.1:9"))


def trainings(cluster: Cluster) -> dict[str, psutil.Process]:
    """The training processes below the workers that are alive."""
    found = {}
    for name, worker in cluster.workers.items():
        if worker.poll() is None:
            for child in psutil.Process(worker.pid).children():
                if "train" in child.cmdline():
                    found[name] = child
    return found


def wait_until(due: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not due():
        assert time.monotonic() < deadline
        time.sleep(0.1)
