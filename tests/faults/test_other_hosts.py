"""Other hosts: at the same run, without a worker, with a wrong clock, without power."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
import yaml
from faked_kit import hold, reached, release
from faketime_kit import faketime, faketime_installed
from prefect_kit import RUN_S, STARTUP_S, descendants
from rig_kit import RULES, STORE, Rig, of
from s3_kit import s3_server

from prunebench.results.devices import Devices
from prunebench.results.run_folder import DEVICES_FILE
from tests.conftest import ROOT, missing_system_package

ELSEWHERE = "elsewhere"
"""Queue of a worker that nobody starts again, as on another host."""

HEARD_OF_S = 75
"""Instead of the hour and a half of ``deployments/``; a run says every 30 s that it is alive."""

pytestmark = pytest.mark.timeout(2 * RUN_S + STARTUP_S)


class Elsewhere(NamedTuple):
    """A worker as on another host.

    Attributes:
        process: The worker.
        clock: File that sets its clock, where libfaketime is installed.
    """

    process: subprocess.Popen[bytes]
    clock: Path

    def power_off(self) -> None:
        """Kill the worker and all below it at once."""
        below = descendants(psutil.Process(self.process.pid))
        for process in (self.process, *below):
            process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def elsewhere(rig: Rig) -> Iterator[Elsewhere]:
    clock = rig.home / "time"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "prefect", "worker", "start"),
            *("--pool", "prunebench", "--work-queue", ELSEWHERE),
        ],
        cwd=ROOT,
        env={**rig.serve.environment, **(faketime(clock) if faketime_installed() else {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    worker = Elsewhere(process, clock)
    yield worker
    if process.poll() is None:
        worker.power_off()


def test_two_workers_asked_for_the_same_run(rig: Rig, elsewhere: Elsewhere) -> None:
    out = rig.new_out("same")
    first = rig.start_at(out, "make")
    second = rig.start(out, queue=ELSEWHERE)
    message = rig.serve.wait_for(second, "FAILED")["message"]
    assert "another run is writing to this folder right now" in message
    release(out, "make")
    rig.check_complete(out, first)
    rig.serve.wait_for(rig.start(out, queue=ELSEWHERE), "COMPLETED")


def test_a_device_without_a_worker_is_not_waited_for(rig: Rig, elsewhere: Elsewhere) -> None:
    out = rig.new_out("devices")
    with s3_server(rig.s3_port):
        flow_run = rig.start(out, store=STORE, devices=["nobody", ELSEWHERE])
        folder = rig.check_complete(out, flow_run, given_up=1)
    nobody, there = Devices.model_validate_json((folder / DEVICES_FILE).read_text()).devices
    reason = "no worker on it has taken the run from its queue within 0.5 minutes"
    assert nobody.failure == reason
    assert there.failure is None
    assert there.ranking is not None
    wanted = {"artifacts": {"key": {"any_": ["devices-devices"]}}}
    (artifact,) = rig.serve.call("artifacts/filter", wanted)
    assert reason in artifact["data"]
    # Nobody will begin it later on.
    asked = rig.serve.call("flow_runs/filter", {})
    (given_up,) = [one for one in asked if one["work_queue_name"] == "nobody"]
    assert given_up["state_type"] == "CANCELLED"


def test_a_clock_set_back_by_an_hour(rig: Rig, elsewhere: Elsewhere) -> None:
    if not faketime_installed():
        missing_system_package("there is no libfaketime (Debian: apt-get install libfaketime)")
    out = rig.new_out("clock")
    flow_run = rig.start_at(out, "measure", queue=ELSEWHERE)
    elsewhere.clock.write_text("-1h")
    time.sleep(2)
    release(out, "measure")
    # The server keeps a task's latest state by its time, and so one of these at Running.
    rig.check_results(out, flow_run)
    tasks = rig.serve.call("task_runs/filter", of(flow_run))
    times = {one["name"]: datetime.fromisoformat(one["state"]["timestamp"]) for one in tasks}
    assert (times["prepare"] - times["rank"]).total_seconds() > 3000, "the clock was not set back"
    elsewhere.clock.write_text("+0")


class Lost(NamedTuple):
    """Two runs on a host that is gone, and their output folders."""

    alone: Path
    alone_run: str
    followed: Path
    followed_run: str


@pytest.fixture(scope="module")
def lost(rig: Rig, elsewhere: Elsewhere) -> Lost:
    hear_sooner(rig)
    alone, followed = rig.new_out("alone"), rig.new_out("followed")
    hold(followed, "make")
    second = rig.start(followed, queue=ELSEWHERE)
    first = rig.start_at(alone, "make", queue=ELSEWHERE)
    rig.wait(lambda: reached(followed, "make"))
    elsewhere.power_off()
    return Lost(alone, first, followed, second)


def hear_sooner(rig: Rig) -> None:
    """Deploy a shorter time after which a run that is not heard of counts as lost."""
    rules = yaml.safe_load((rig.deployments / RULES).read_text())
    (lost,) = [rule for rule in rules["automations"] if rule["name"] == "prunebench lost run"]
    assert lost["trigger"]["within"] > 3600
    lost["trigger"]["within"] = HEARD_OF_S
    (rig.deployments / RULES).write_text(yaml.safe_dump(rules))
    subprocess.run(
        [sys.executable, "-m", "flows.cli", "deploy", str(rig.deployments)],
        cwd=ROOT,
        env=rig.serve.environment,
        stdout=subprocess.DEVNULL,
        check=True,
    )


def test_the_next_run_knows_of_a_host_that_is_gone(rig: Rig, lost: Lost) -> None:
    assert rig.serve.call(lost.followed_run)["state"]["type"] == "RUNNING"
    release(lost.followed, "make")
    rig.check_complete(lost.followed, rig.start(lost.followed))
    assert "Its process is gone" in rig.serve.wait_for(lost.followed_run, "CRASHED")["message"]


def test_a_host_that_is_gone_is_noticed_in_time(rig: Rig, lost: Lost) -> None:
    message = rig.serve.wait_for(lost.alone_run, "CRASHED")["message"]
    assert "It is not heard of any more" in message
    release(lost.alone, "make")
    rig.check_complete(lost.alone, rig.start(lost.alone))
