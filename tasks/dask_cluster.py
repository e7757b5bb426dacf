"""Pruning, training and export on a Dask cluster: the step is a task that runs on its worker.

A step's events come back through the scheduler, its files through the store. Dask is imported where
it is used: it comes with the extra ``dask``.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from prefect.settings import PREFECT_API_URL

from prunebench.common.errors import ConfigError, PrunebenchError, StepError
from prunebench.common.records import Record
from prunebench.config.loading import Config
from prunebench.experiment.inputs import Experiment
from prunebench.experiment.requirements import check_engine
from prunebench.experiment.run_step import steps_run
from prunebench.measuring.host.lock import working_on_host
from prunebench.operating.store.datasets import ArchivedDataset, archive_dataset
from prunebench.operating.store.files import Stored
from prunebench.operating.store.remote_steps import (
    RemoteResult,
    RemoteStep,
    code_of_remote_steps,
    fetch_result,
    may_run_elsewhere,
    pack,
    run_for_another_host,
)
from prunebench.operating.store.runs import open_store
from prunebench.steps.child import ending_children
from prunebench.steps.ended import ENDED_REASON, was_ended
from prunebench.steps.events import EVENT, Emit, Event, Stage
from prunebench.variants.devices import Devices
from tasks.retries import retried_task

if TYPE_CHECKING:
    from distributed import Worker
    from prefect_dask import DaskTaskRunner

CONNECT_S = 30
ANSWER_S = 10
POLL_S = 0.5  # How soon a step ends that is no longer wanted.
LOOK_S = 5
WITHOUT_WORKER_S = 120
"""How long a cluster may be without a worker: something may start them again."""

CLOSING = ("closing", "closed", "stopping", "failed")
"""States of a Dask worker whose results are lost."""

NO_FILE = Stored(sha256="0" * 64, bytes=0)
"""Asked for to see whether the store answers."""

GPU = "GPU"
"""Resource that a worker offers whose host is to train: ``dask worker --resources GPU=1``."""

ON_GPU = ("baseline", "train", "sensitivity", "prune")
"""Steps that train, or ask for losses."""

FOLDER = "prunebench"
"""Below the folder that ``dask worker --local-directory`` names."""


def check_cluster(config: Config) -> Devices | None:
    """Refuse a cluster that cannot run this host's steps, before any work starts.

    Returns what its trainings run on: the devices of a worker that offers a GPU, where there is
    one, else of any; ``None`` where trainings run on this host.

    Raises:
        ConfigError: Nobody answers there, or a worker lacks the store, the Prefect server or this
            host's version of the code.
        EnvironmentMismatch: The packages for it are not installed.
    """
    check_engine(config)
    if config.engine != "dask" or config.address is None:
        return None
    api = PREFECT_API_URL.value()
    if not api:
        raise ConfigError(
            "engine is dask, and there is no Prefect server that its workers reach",
            where="engine",
            fix="start one, and set PREFECT_API_URL to an address that every worker reaches",
        )
    from distributed import Client

    try:
        client = Client(config.address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise ConfigError(
            f"no Dask scheduler answers at {config.address}",
            where="address",
            fix="start `dask scheduler`, or correct the address",
        ) from error
    with client:
        workers = client.scheduler_info(n_workers=-1)["workers"]
        if not workers:
            raise ConfigError(
                f"the Dask cluster at {config.address} has no worker",
                where="address",
                fix=f"start `dask worker {config.address} --nthreads 1` on each of its hosts",
            )
        code = code_of_remote_steps()
        answers = client.run(obstacle_there, config.store, api, code, on_error="return")
        for worker, answer in answers.items():
            if isinstance(answer, ModuleNotFoundError):
                answer = f"has no {answer.name}: install the same prunebench there"
            if answer is not None:
                raise ConfigError(f"the Dask worker {worker} {answer}", where="address")
        trains = (_offering_gpu(workers) or sorted(workers))[0]
        return Devices.model_validate_json(client.run(devices_there, workers=[trains])[trains])


def devices_there() -> str:
    """Runs on a worker: what trainings could run on there, as JSON, found out in a child."""
    code = "from prunebench.variants.devices import devices_here as d; print(d().model_dump_json())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    return done.stdout.splitlines()[-1]


def _offering_gpu(workers: Mapping[str, Any]) -> list[str]:
    """Addresses of the workers that were started with ``--resources GPU=1``."""
    return sorted(name for name, one in workers.items() if one["resources"].get(GPU))


def obstacle_there(store: str, api: str, code: dict[str, Any], dask_worker: Worker) -> str | None:
    """Runs on a worker, which Dask passes by that name: why it cannot run steps, or ``None``."""
    if code_of_remote_steps() != code:
        return "has another version of prunebench or of its libraries: install the same there"
    try:
        open_store(store, _home(dask_worker)).has(NO_FILE)
    except (OSError, PrunebenchError) as error:
        return f"cannot use the store: {error}"
    try:
        # Any answer will do, if only that a password is missing.
        httpx.get(f"{api}/health", timeout=ANSWER_S)
    except httpx.HTTPError as error:
        return (
            f"does not reach the Prefect server at {api} ({error}): set PREFECT_API_URL to one "
            "that every worker reaches"
        )
    return None


@contextlib.contextmanager
def steps_on_cluster(experiment: Experiment) -> Iterator[None]:
    """Run the steps of the block that may travel on the configured cluster, if there is one."""
    config = experiment.config
    if config.engine != "dask":
        yield
        return
    from prefect_dask import DaskTaskRunner

    dataset = share_dataset(experiment)
    with (
        DaskTaskRunner(address=config.address) as runner,
        steps_run(ClusterSteps(experiment, dataset, runner)),
        # A signal tells the waiting threads first. Then the connection is closed, and the
        # scheduler tells the workers that their results are not wanted.
        ending_children(),
    ):
        yield


@retried_task(task_run_name="copy the dataset to the store")
def share_dataset(experiment: Experiment) -> ArchivedDataset:
    """Have the dataset in the store, where workers take it from."""
    config, out = experiment.config, Path(experiment.out)
    store = open_store(config.store or "", out, config.store_cache_gb)
    return archive_dataset(Path(experiment.data_yaml), experiment.data_digest, store, out)


@retried_task(task_run_name="{remote.step} on Dask")
def run_on_worker(remote: RemoteStep, topic: str) -> RemoteResult:
    """Runs on a worker: run a step while nobody measures on that host."""
    from distributed import get_worker
    from distributed.worker import thread_state

    worker = get_worker()
    ran_on = f"{worker.name} ({socket.gethostname()}, process {os.getpid()})"

    def tell(event: Event) -> None:
        worker.log_event(topic, {"remote": remote.name, "event": event.model_dump(mode="json")})

    def stage(what: str) -> None:
        tell(Stage(what=what))

    stage(f"{remote.step} on the Dask worker {ran_on}")
    with _unwanted(worker, thread_state.key) as unwanted, working_on_host(stage):
        return run_for_another_host(remote, _home(worker), ran_on, tell, unwanted)


class ClusterSteps:
    """Runs steps on the workers of a Dask cluster, and waits for them in the caller's thread."""

    def __init__(
        self, experiment: Experiment, dataset: ArchivedDataset, runner: DaskTaskRunner
    ) -> None:
        config = experiment.config
        out = Path(experiment.out)
        self._store = open_store(config.store or "", out, config.store_cache_gb)
        self._dataset = dataset
        self._runner = runner
        self._topic = f"prunebench-{uuid.uuid4().hex}"
        self._waiting: dict[str, Callable[[Event | None], None]] = {}
        runner.client.subscribe_topic(self._topic, self._deliver)

    def takes(self, step: str, request: Record) -> bool:
        """See ``Elsewhere``."""
        return may_run_elsewhere(step, request)

    def run(
        self, step: str, request: Record, folder: Path, *, threads: int, on_event: Emit | None
    ) -> tuple[dict[str, Any], str]:
        """See ``Elsewhere``."""
        import dask

        remote = pack(step, folder.name, request, self._dataset, self._store, threads=threads)
        events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._waiting[remote.name] = events.put
        try:
            asked = {"remote": remote, "topic": self._topic}
            with dask.annotate(**self._annotations(step)):
                future = self._runner.submit(run_on_worker, asked)
            future.add_done_callback(lambda _: events.put(None))
            workers_seen = looked = time.monotonic()
            # Events are handed on from this thread: the client's own must not wait for anything.
            while True:
                with contextlib.suppress(queue.Empty):
                    event = events.get(timeout=POLL_S)
                    if event is None:
                        break
                    if on_event is not None:
                        on_event(event)
                if was_ended():
                    raise StepError(step, ENDED_REASON)
                if time.monotonic() - looked < LOOK_S:
                    continue
                looked = time.monotonic()
                if self._has_workers():
                    workers_seen = looked
                elif looked - workers_seen > WITHOUT_WORKER_S:
                    reason = f"the Dask cluster had no worker for {WITHOUT_WORKER_S} s"
                    raise StepError(step, reason)
        finally:
            del self._waiting[remote.name]
        try:
            found = RemoteResult.model_validate(future.result())
        except (PrunebenchError, OSError):
            raise
        except Exception as error:
            reason = f"the Dask cluster lost it ({type(error).__name__}: {error})"
            raise StepError(step, reason) from error
        fetch_result(found, step, folder, self._store)
        return found.result, found.ran_on

    def _annotations(self, step: str) -> dict[str, Any]:
        """What the worker of a step must offer: a GPU for a training, if any worker does."""
        workers = self._runner.client.scheduler_info(n_workers=-1)["workers"]
        on_gpu = step in ON_GPU and _offering_gpu(workers)
        return {"resources": {GPU: 1}} if on_gpu else {}

    def _has_workers(self) -> bool:
        try:
            return bool(self._runner.client.scheduler_info(n_workers=-1)["workers"])
        except (OSError, TimeoutError):
            return False

    def _deliver(self, event: tuple[float, dict[str, Any]]) -> None:
        _, message = event
        if message["remote"] in self._waiting:
            self._waiting[message["remote"]](EVENT.validate_python(message["event"]))


@contextlib.contextmanager
def _unwanted(worker: Worker, key: Any) -> Iterator[threading.Event]:
    """An event that is set once the scheduler no longer wants what this thread computes.

    Dask cannot interrupt a thread; it only forgets what the thread will return. So it is when a
    run is cancelled, when the host that waits is gone, and when the worker closes.
    """
    unwanted, ended = threading.Event(), threading.Event()

    def watch() -> None:
        while not ended.wait(POLL_S):
            asked = worker.state.tasks.get(key)
            closing = worker.status.name in CLOSING
            if asked is None or asked.state != "executing" or closing:
                unwanted.set()
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield unwanted
    finally:
        ended.set()
        watcher.join()


def _home(worker: Worker) -> Path:
    """Where a worker keeps files: it outlives the worker, so that a training can go on."""
    return Path(worker.local_directory).parent / FOLDER
