"""Faults of everything around the work: `prunebench serve` on PostgreSQL, real processes killed.

Where the fault is not about a step's own work, its steps are faked (see ``faked_flow``).
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import postgres
import psutil
import pytest
import yaml
from disk_kit import fill, small_disk
from faked_kit import TEMPLATE, faked_values, hold, reached, release
from faketime_kit import faketime, faketime_installed
from filelock import FileLock
from prefect_kit import RUN_S, STARTUP_S, Served, descendants, free_port, served
from report_kit import MIXED, make_run
from s3_kit import BUCKET, CREDENTIALS, s3_server

from prunebench.operating.store.files import FileStore
from prunebench.operating.store.runs import fetch_run
from prunebench.results.devices import DEVICES_FILE, Devices
from prunebench.results.history.reading import history
from prunebench.results.history.store import Store
from prunebench.results.outcome import read_outcome
from tests.conftest import ROOT, missing_system_package, share_steps, tiny_values

ELSEWHERE = "elsewhere"
"""Queue of a worker that nobody starts again, as on another host."""

GONE_S = 30
AT_ONCE = 8
HEARD_OF_S = 75
"""Instead of the hour and a half of ``deployments/``; a run says every 30 s that it is alive."""

RULES = "operations.yaml"

STORE = f"s3://{BUCKET}/runs"

pytestmark = pytest.mark.timeout(2 * RUN_S + STARTUP_S)


class Rig(NamedTuple):
    """What the tests share.

    Attributes:
        serve: `prunebench serve`.
        database: Of Prefect's server.
        history: URL of another database, for the history.
        s3_port: Where the store is, while there is one.
        home: Folder that runs may reach.
        deployments: Folder of what is deployed.
    """

    serve: Served
    database: postgres.Server
    history: str
    s3_port: int
    home: Path
    deployments: Path

    def new_out(self, name: str) -> Path:
        """An output folder for faked runs."""
        out = self.home / name
        make_run(out / TEMPLATE, MIXED[:2], threads=(1,), rounds=4, frames=4)
        return out

    def start(self, out: Path, *, queue: str = "default", **changes: Any) -> str:
        """Start a faked run."""
        config = faked_values(out, **changes)
        return self.serve.start("run-experiment/faked", {"config": config}, work_queue_name=queue)

    def start_at(self, out: Path, step: str, **changes: Any) -> str:
        """Start a faked run and wait until it is in ``step``, which it does not leave."""
        hold(out, step)
        flow_run = self.start(out, **changes)
        self.wait(lambda: reached(out, step))
        return flow_run

    def wait(self, due: Callable[[], object]) -> None:
        """Wait until ``due`` holds."""
        deadline = time.monotonic() + RUN_S
        while not due():
            assert time.monotonic() < deadline, self.serve.log()
            time.sleep(0.1)

    def check_complete(self, out: Path, flow_run: str, given_up: int = 0) -> Path:
        """Wait for a faked run: its tasks and results must be there. Gives its folder.

        ``given_up`` devices have not answered.
        """
        folder = self.check_results(out, flow_run)

        def all_told() -> bool:
            tasks = self.serve.call("task_runs/filter", of(flow_run))
            states = [one["state_type"] for one in tasks]
            return len(states) >= 12 and states.count("COMPLETED") == len(states) - given_up

        # The server hears of tasks by events, which may take longer than the run.
        self.wait(all_told)
        return folder

    def check_results(self, out: Path, flow_run: str) -> Path:
        """Wait for a faked run: its artifacts and files must be there. Gives its folder."""
        state = self.serve.wait_for(flow_run, "COMPLETED")
        assert state["message"] == "2 of 2 variants ranked"
        keys = {one["key"] for one in self.serve.call("artifacts/filter", of(flow_run))}
        name = out.name
        assert {f"ranking-{name}-1-threads", f"report-{name}", f"latency-{name}-pruned"} <= keys
        (folder,) = [path.parent for path in out.glob("2*/ranking.json")]
        assert read_outcome(folder).name == name
        return folder

    def slots_taken(self) -> list[int]:
        """Taken slots of every host's measuring limit."""
        limits = self.serve.call("v2/concurrency_limits/filter", {})
        return [one["active_slots"] for one in limits if "prunebench-measure" in one["name"]]


def of(flow_run: str) -> dict[str, Any]:
    """Asks the server for what belongs to a run."""
    return {"flow_runs": {"id": {"any_": [flow_run.removeprefix("flow_runs/")]}}}


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    programs = postgres.installed()
    if programs is None:
        missing_system_package(
            "no PostgreSQL server is installed (Debian: apt-get install postgresql)"
        )
    home = tmp_path_factory.mktemp("faults")
    port = free_port()
    with postgres.running(programs) as database:
        history = database.new_database()
        variables = {
            "PREFECT_API_DATABASE_CONNECTION_URL": database.new_database().replace(
                "postgresql://", "postgresql+asyncpg://"
            ),
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
            "PRUNEBENCH_HISTORY": history,
            "PRUNEBENCH_STORE": STORE,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_MAX_ATTEMPTS": "1",
            **CREDENTIALS,
        }
        folder = operations(home / "operations")
        with served(home / "prefect", home, folder=folder, **variables) as serve:
            yield Rig(serve, database, history, port, home, folder)


def operations(root: Path) -> Path:
    """The deployments, and faked ones of a comparison and of a device."""
    root.mkdir()
    (root / "flows").symlink_to(ROOT / "flows")
    paths = [str(ROOT), str(ROOT / "tests" / "kits")]
    entry = f"import sys\nsys.path[:0] = {paths!r}\n"
    entry += "from faked_flow import rebenchmark, run_experiment\n"
    (root / "faked.py").write_text(entry)
    prefect = yaml.safe_load((ROOT / "deployments" / "prefect.yaml").read_text())
    deployments = {one["name"]: one for one in prefect["deployments"]}
    deployments["device"]["entrypoint"] = "faked.py:rebenchmark"
    faked = {"name": "faked", "entrypoint": "faked.py:run_experiment"}
    limit = {"concurrency_limit": {"limit": 2 * AT_ONCE}}
    prefect["deployments"].append({**deployments["run-experiment"], **faked, **limit})
    folder = root / "deployments"
    folder.mkdir()
    (folder / "prefect.yaml").write_text(yaml.safe_dump(prefect))
    shutil.copyfile(ROOT / "deployments" / RULES, folder / RULES)
    return folder


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
    flow_run = rig.start_at(out, "rank", store=STORE)
    release(out, "rank")
    time.sleep(GONE_S)
    assert rig.serve.call(flow_run)["state"]["type"] == "RUNNING"
    with s3_server(rig.s3_port):
        folder = rig.check_complete(out, flow_run)
        check_in_store(rig, folder, monkeypatch)


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


def check_in_store(rig: Rig, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a run from the store and compare it with what was sent."""
    for name in ("AWS_ENDPOINT_URL", *CREDENTIALS):
        monkeypatch.setenv(name, rig.serve.environment[name])
    with tempfile.TemporaryDirectory(dir=rig.home) as home:
        store = FileStore(STORE, Path(home) / "cache", 1)
        fetched = fetch_run(folder.name, store, Path(home))
        for name in ("ranking.json", "latency/samples.jsonl", "report.html"):
            assert (fetched / name).read_bytes() == (folder / name).read_bytes()


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


def kill_worker(rig: Rig) -> None:
    """Kill the worker of `prunebench serve`; what it had started must end with it."""
    worker = rig.serve.worker
    below = descendants(worker)
    assert below
    worker.kill()
    _, alive = psutil.wait_procs(below, timeout=30)
    assert [process.cmdline() for process in alive] == []
    rig.wait(lambda: rig.serve.worker.pid != worker.pid)


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
