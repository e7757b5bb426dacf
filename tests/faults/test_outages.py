"""What runs outlast: a crowd, and a server, a database, a store or a disk that gives out."""

from __future__ import annotations

import contextlib
import time

import pytest
from disk_kit import fill, small_disk
from faked_kit import hold, reached, release
from prefect_kit import RUN_S, STARTUP_S, Served
from rig_kit import AT_ONCE, STORE, Rig, check_in_store
from s3_kit import s3_server

from prunebench.results.history.reading import history
from prunebench.results.history.store import Store

GONE_S = 30

pytestmark = pytest.mark.timeout(2 * RUN_S + STARTUP_S)


def test_eight_runs_at_once_on_postgresql_lose_no_result(rig: Rig) -> None:
    outs = [rig.new_out(f"many-{number}") for number in range(AT_ONCE)]
    for out in outs:
        hold(out, "make")
    flow_runs = [rig.start(out, history=rig.history) for out in outs]
    try:
        rig.wait(lambda: all(reached(out, "make") for out in outs))
        states = [rig.serve.call(flow_run)["state"]["type"] for flow_run in flow_runs]
    finally:
        for out in outs:
            release(out, "make")
    assert states == ["RUNNING"] * AT_ONCE
    folders = [rig.check_complete(*pair) for pair in zip(outs, flow_runs, strict=True)]
    with Store(rig.history) as store:
        assert {folder.name for folder in folders} == {point.run for point in history(store)}


def test_a_run_outlasts_a_server_that_is_killed(rig: Rig) -> None:
    out = rig.new_out("server")
    flow_run = rig.start_at(out, "measure")
    killed = rig.serve.server
    details = rig.serve.call(flow_run)["state"]["state_details"]
    killed.kill()
    release(out, "measure")
    rig.wait(lambda: not killed.is_running() and answers(rig.serve))
    # Its place among the runs of its deployment outlasted the server as well.
    lease = f"v2/concurrency_limits/leases/{details['deployment_concurrency_lease_id']}/renew"
    rig.serve.call(lease, {"lease_duration": 300})
    rig.check_complete(out, flow_run)


def answers(serve: Served) -> bool:
    """Whether the server answers."""
    with contextlib.suppress(OSError):
        serve.call("health")
        return True
    return False


def test_a_run_outlasts_a_database_that_is_gone(rig: Rig) -> None:
    out = rig.new_out("database")
    flow_run = rig.start_at(out, "make", history=rig.history)
    rig.database.stop()
    try:
        release(out, "make")
        time.sleep(GONE_S)
    finally:
        rig.database.start()
    folder = rig.check_complete(out, flow_run)
    with Store(rig.history) as store:
        assert folder.name in {point.run for point in history(store)}


def test_a_run_outlasts_a_store_that_is_gone(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    out = rig.new_out("store")
    with s3_server(rig.s3_port):
        flow_run = rig.start_at(out, "rank", store=STORE)
    release(out, "rank")
    time.sleep(GONE_S)
    assert rig.serve.call(flow_run)["state"]["type"] == "RUNNING"
    with s3_server(rig.s3_port):
        folder = rig.check_complete(out, flow_run)
        check_in_store(rig, folder, monkeypatch)


def test_a_full_disk_is_the_reason_of_a_failure(rig: Rig) -> None:
    with small_disk(rig.home / "disk", 240) as disk:
        out = rig.new_out("disk/full")
        flow_run = rig.start_at(out, "rank")
        filler = fill(disk)
        release(out, "rank")
        message = rig.serve.wait_for(flow_run, "FAILED")["message"]
        assert "No space left on device" in message
        filler.unlink()
        rig.check_complete(out, rig.start(out))
