"""`prunebench serve` on PostgreSQL, with runs whose steps are faked (see ``faked_flow``)."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import postgres
import psutil
import pytest
import yaml
from faked_kit import TEMPLATE, faked_values, hold, reached
from prefect_kit import RUN_S, Served, descendants, free_port, served
from report_kit import MIXED, make_run
from s3_kit import BUCKET, CREDENTIALS

from prunebench.operating.store.files import FileStore
from prunebench.operating.store.runs import fetch_run
from prunebench.results.outcome import read_outcome
from tests.conftest import ROOT, missing_system_package

AT_ONCE = 8
RULES = "operations.yaml"
STORE = f"s3://{BUCKET}/runs"


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


@contextlib.contextmanager
def running_rig(home: Path) -> Iterator[Rig]:
    """Start PostgreSQL and, on it, `prunebench serve`, whose runs may reach ``home``."""
    programs = postgres.installed()
    if programs is None:
        missing_system_package(
            "no PostgreSQL server is installed (Debian: apt-get install postgresql)"
        )
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
    paths = [str(ROOT), str(ROOT / "tests" / "support")]
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


def kill_worker(rig: Rig) -> None:
    """Kill the worker of `prunebench serve`; what it had started must end with it."""
    worker = rig.serve.worker
    below = descendants(worker)
    assert below
    worker.kill()
    _, alive = psutil.wait_procs(below, timeout=30)
    assert [process.cmdline() for process in alive] == []
    rig.wait(lambda: rig.serve.worker.pid != worker.pid)


def check_in_store(rig: Rig, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a run from the store and compare it with what was sent."""
    for name in ("AWS_ENDPOINT_URL", *CREDENTIALS):
        monkeypatch.setenv(name, rig.serve.environment[name])
    with tempfile.TemporaryDirectory(dir=rig.home) as home:
        store = FileStore(STORE, Path(home) / "cache", 1)
        fetched = fetch_run(folder.name, store, Path(home))
        for name in ("ranking.json", "latency/samples.jsonl", "report.html"):
            assert (fetched / name).read_bytes() == (folder / name).read_bytes()
