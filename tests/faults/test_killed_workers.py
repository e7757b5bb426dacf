"""Workers of `prunebench serve` that are killed, and a run that is cancelled while it measures."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from faked_kit import release
from filelock import FileLock
from prefect_kit import RUN_S, STARTUP_S, descendants
from rig_kit import STORE, Rig, check_in_store, kill_worker
from s3_kit import s3_server

from prunebench.results.outcome import read_outcome
from tests.conftest import share_steps, tiny_values

pytestmark = pytest.mark.timeout(2 * RUN_S + STARTUP_S)


def test_a_worker_killed_in_training_and_in_measuring(
    rig: Rig, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = share_steps(rig.home / "real", tmp_path_factory)
    values = tiny_values(out, name="killed")
    values["retrain"] |= {"epochs": 3, "strategies": {"preserving": {"lr0": 0.001}}}
    values["latency"] |= {"rounds_min": 5, "rounds_max": 5, "seconds": 0.2}

    def start() -> str:
        return rig.serve.start("run-experiment/run-experiment", {"config": values})

    def progress() -> list[str]:
        wanted = {"artifacts": {"key": {"any_": ["training-preserving-1"]}}}
        return [one["description"] for one in rig.serve.call("artifacts/filter", wanted)]

    def samples() -> list[str]:
        return [line for path in out.glob("2*/latency/*.jsonl") for line in path.open()]

    first = start()
    rig.wait(progress)
    kill_worker(rig)
    assert "Its worker was killed" in rig.serve.wait_for(first, "CRASHED")["message"]

    second = start()
    rig.wait(lambda: len(samples()) >= 5)
    kill_worker(rig)
    assert "Its worker was killed" in rig.serve.wait_for(second, "CRASHED")["message"]
    before = samples()
    assert any("epoch 3/3" in text for text in progress())

    third = start()
    rig.serve.wait_for(third, "COMPLETED")
    (folder,) = [path.parent for path in out.glob("2*/ranking.json")]
    assert samples()[: len(before)] == before, "a finished measurement was repeated"
    names = {row.name for row in read_outcome(folder).rankings[0].rows}
    assert names == {"baseline", "pruned", "preserving-1"}
    record = (folder / "variants" / "preserving-1" / "record.json").read_text()
    training = yaml.safe_load(record)["training"]
    assert (training["resumed"], training["epochs"]) == (1, 3)


def test_a_worker_killed_in_the_upload(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    out = rig.new_out("upload")
    with s3_server(rig.s3_port) as s3:
        flow_run = rig.start_at(out, "rank", store=STORE)
        with suspended(s3.pid):
            release(out, "rank")
            (run,) = [path for path in out.glob("2*") if path.is_dir()]
            # It has connected, and waits for an answer to the first file.
            rig.wait(lambda: (run / "ranking.json").is_file() and connected_to(rig.s3_port))
            kill_worker(rig)
        state = rig.serve.wait_for(flow_run, "CRASHED")
        assert "Its worker was killed" in state["message"]
        # What was ranked is there; another run sends it.
        assert read_outcome(run).name == "upload"
        again = rig.start(out, store=STORE)
        rig.serve.wait_for(again, "COMPLETED")
        folders = [path.parent for path in out.glob("2*/ranking.json")]
        assert len(folders) == 2
        check_in_store(rig, max(folders), monkeypatch)


def connected_to(port: int) -> bool:
    """Whether somebody has a connection to a port of this host."""
    return any(
        one.raddr and one.raddr.port == port and one.status == psutil.CONN_ESTABLISHED
        for one in psutil.net_connections("tcp")
    )


@contextlib.contextmanager
def suspended(pid: int) -> Iterator[None]:
    """Keep a process from doing anything."""
    process = psutil.Process(pid)
    process.suspend()
    try:
        yield
    finally:
        process.resume()


def test_a_run_cancelled_while_it_measures_leaves_no_process_and_no_lock(rig: Rig) -> None:
    out = rig.new_out("cancelled")
    flow_run = rig.start_at(out, "measure")
    alive = descendants(rig.serve.worker)
    assert sum(rig.slots_taken()) == 1
    cancelling = {"type": "CANCELLING", "name": "Cancelling"}
    rig.serve.call(f"{flow_run}/set_state", {"state": cancelling})
    rig.serve.wait_for(flow_run, "CANCELLED")
    _, left = psutil.wait_procs(alive, timeout=30)
    assert [process.cmdline() for process in left + descendants(rig.serve.worker)] == []
    measuring = Path(tempfile.gettempdir()) / "prunebench-measuring.lock"
    for lock in (measuring, out / ".lock"):
        with FileLock(lock, timeout=0):
            pass
    release(out, "measure")
    rig.check_complete(out, rig.start(out))
    assert sum(rig.slots_taken()) == 0
