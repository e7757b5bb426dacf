"""Pruning, training and export on a Dask cluster: the step is a task that runs on its worker.

Prefect and Dask meet here. A step's events come back through the scheduler, its files through
the store. Dask is imported where it is used: it comes with the extra ``dask``.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from prefect.settings import PREFECT_API_URL

from prunebench.common.errors import ConfigError, PrunebenchError, StepError
from prunebench.common.records import Record
from prunebench.config.loading import Config
from prunebench.experiment.prepare import Experiment, check_engine
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
from prunebench.steps.child import ENDED_REASON, ending_children, was_ended
from prunebench.steps.events import EVENT, Emit, Event, Stage
from tasks.retries import retried_task

if TYPE_CHECKING:
    from distributed import Worker
    from prefect_dask import DaskTaskRunner

CONNECT_S = 30
ANSWER_S = 10
POLL_S = 0.5
"""How soon a step ends that is no longer wanted."""

LOOK_S = 5
WITHOUT_WORKER_S = 120
"""How long a cluster may be without a worker: something may start them again."""

CLOSING = ("closing", "closed", "stopping", "failed")
"""States of a Dask worker whose results are lost."""

NO_FILE = Stored(sha256="0" * 64, bytes=0)
"""Asked for to see whether the store answers."""

FOLDER = "prunebench"
"""Below the folder that ``dask worker --local-directory`` names."""


def check_cluster(config: Config) -> None:
    """Refuse a cluster that cannot run this host's steps, before any work starts.

    Raises:
        ConfigError: Nobody answers there, or a worker lacks the store, the Prefect server or this
            host's version of the code.
        EnvironmentMismatch: The packages for it are not installed.
    """
    check_engine(config)
    if config.engine != "dask" or config.address is None:
        return
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
        if not client.scheduler_info(n_workers=-1)["workers"]:
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

    def on_wait(sentence: str) -> None:
        tell(Stage(what=sentence))

    tell(Stage(what=f"{remote.step} on the Dask worker {ran_on}"))
    with _unwanted(worker, thread_state.key) as unwanted, working_on_host(on_wait):
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
        """See ``Elsewhere``.

        Raises:
            InputError: The step found bad input.
            StepError: The step failed, the run was ended, or the cluster lost the step.
            OSError: The store is out of reach.
        """
        remote = pack(step, folder.name, request, self._dataset, self._store, threads=threads)
        events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._waiting[remote.name] = events.put
        try:
            future = self._runner.submit(run_on_worker, {"remote": remote, "topic": self._topic})
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
            found = self._outcome(step, future)
        finally:
            del self._waiting[remote.name]
        fetch_result(found, step, folder, self._store)
        return found.result, found.ran_on

    def _has_workers(self) -> bool:
        try:
            return bool(self._runner.client.scheduler_info(n_workers=-1)["workers"])
        except (OSError, TimeoutError):
            return False

    def _deliver(self, event: tuple[float, dict[str, Any]]) -> None:
        _, message = event
        put = self._waiting.get(message["remote"])
        if put is not None:
            put(EVENT.validate_python(message["event"]))

    def _outcome(self, step: str, future: Any) -> RemoteResult:
        try:
            found = future.result()
        except (PrunebenchError, OSError):
            raise
        except Exception as error:
            reason = f"the Dask cluster lost it ({type(error).__name__}: {error})"
            raise StepError(step, reason) from error
        return RemoteResult.model_validate(found)


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
