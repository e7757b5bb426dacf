"""Tasks that let other hosts measure a run's files, each through its own work queue."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import get_client
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled, Cancelling, Pending, State

from prunebench.common.errors import ConfigError, PrunebenchError
from prunebench.config.loading import Config
from prunebench.measuring.remote.transport import check_ssh
from prunebench.operating.devices import answer, take_answer, write_devices
from prunebench.operating.kit.ssh import measure_there
from prunebench.operating.store.runs import open_store
from prunebench.results.devices import Device, device_rows
from prunebench.results.history.store import default_url
from prunebench.results.outcome import RunRanking
from prunebench.results.run_folder import DEVICES_FOLDER
from prunebench.steps.events import stage
from tasks.publishing import artifact_key
from tasks.retries import retried, retried_task

DEPLOYMENT = "rebenchmark/device"
POLL_S = 2.0
BEGIN_MINUTES = 10.0
"""Time a device has to begin: a host that is restarted is waited for, one that is gone is not."""

WAIT_FACTOR = 3
TRAVEL_MINUTES = 10.0
"""A device may be busy with another run, and slower than this host; and files have to travel."""


def check_devices(config: Config) -> None:
    """Refuse devices, before anything is trained, that there is no way to."""
    if config.over_ssh:
        check_ssh("devices")
    if not config.queues:
        return
    fix = "start the server with `make serve`, and set PREFECT_API_URL to it"
    if not PREFECT_API_URL.value():
        what = "devices take their work from a Prefect server, and there is none"
        raise ConfigError(what, where="devices", fix=fix)
    try:
        with get_client(sync_client=True) as client:
            client.read_deployment_by_name(DEPLOYMENT)
    except ObjectNotFound as error:
        raise ConfigError(
            f"the Prefect server has no deployment {DEPLOYMENT}",
            where="devices",
            fix=fix,
        ) from error


@retried_task(task_run_name="latency on {device}, over ssh")
def measure_over_ssh(device: str, folder: str, config: Config) -> Device:
    """Have a device measure a finished run's files by a kit; one that does not is a failure."""
    return measure_there(Path(folder), device, config.over_ssh[device], stage)


@retried_task(task_run_name="latency on {device}")
def measure_on(device: str, folder: str, config: Config) -> Device:
    """Have a device measure a finished run's files; a device that does not is told as a failure."""
    run, url = Path(folder), config.store or ""
    asked = run_deployment(
        DEPLOYMENT,
        parameters={
            "run": run.name,
            "out": f"{config.out}/{DEVICES_FOLDER}/{device}",
            "store": url,
            "store_cache_gb": config.store_cache_gb,
            "device": device,
        },
        work_queue_name=device,
        # Asked again after the server was gone, it is the same run.
        idempotency_key=f"{run.name} on {device}",
        timeout=0,
    )
    failure = _wait_for(asked.id, WAIT_FACTOR * config.latency.budget_minutes)
    if failure is not None:
        return Device(name=device, failure=failure)
    store = open_store(url, run.parent, config.store_cache_gb)
    try:
        return take_answer(store, run, device, config.history or default_url(run.parent))
    except PrunebenchError as error:
        return Device(name=device, failure=str(error))


def _wait_for(flow_run: UUID, measuring_minutes: float) -> str | None:
    """Wait until a device's run completes; else why it did not, or is not waited for any longer."""
    begun, began = False, time.monotonic()
    while True:
        # A server that is restarted meanwhile is waited for.
        state = retried(functools.partial(_read_state, flow_run))
        if state.is_final():
            failure = state.message or state.name or "its run failed"
            return None if state.is_completed() else failure
        minutes = (time.monotonic() - began) / 60
        begun = begun or not (state.is_scheduled() or state.is_pending())
        most = TRAVEL_MINUTES + measuring_minutes if begun else BEGIN_MINUTES
        if minutes > most:
            break
        time.sleep(POLL_S)
    # Cancelling is up to the worker, and this run may have none.
    wish = Cancelling() if begun else Cancelled(message="no worker took it")
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run, wish)
    what = "it did not answer" if begun else "no worker on it has taken the run from its queue"
    return f"{what} within {most:g} minutes"


def _read_state(flow_run: UUID) -> State[Any]:
    with get_client(sync_client=True) as client:
        return client.read_flow_run(flow_run).state or Pending()


@retried_task(task_run_name="answer")
def answer_as(device: str, source: str, folder: str, url: str, cache_gb: float) -> None:
    """Say in the store which run of this device has the figures."""
    run = Path(folder)
    answer(open_store(url, run.parent, cache_gb), source, device, run.name)


@retried_task(task_run_name="publish the devices")
def publish_devices(folder: str, outcome: RunRanking, devices: Sequence[Device]) -> None:
    """Keep the table with a column per device, and ``devices.json`` in the run's folder."""
    write_devices(Path(folder), devices)
    hosts = [
        f"{device.name}: {device.fingerprint.cpu}, {device.fingerprint.logical_cores} core(s)"
        for device in devices
        if device.fingerprint is not None
    ]
    create_table_artifact(
        key=artifact_key("devices", outcome.name),
        table=device_rows(outcome, devices),
        description=f"Run {outcome.run} on every device. {'; '.join(hosts)}",
    )
