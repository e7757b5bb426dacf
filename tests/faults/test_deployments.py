"""The deployments, for real: `prunebench serve`, and runs through each deployment."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
import yaml
from browser_kit import chromium
from playwright.sync_api import Page
from prefect_kit import RUN_S, STARTUP_S, Served, descendants, end, served

from prunebench.common.cores import usable_cores
from prunebench.operating.registry import promote
from prunebench.results.devices import Devices, device_rows
from prunebench.results.history.reading import history
from prunebench.results.history.store import Store, default_url
from prunebench.results.outcome import read_latency, read_outcome
from prunebench.results.run_folder import DEVICES_FILE, read_variants
from prunebench.steps.signals import INTERRUPTED
from tests.conftest import ROOT, share_steps, tiny_values

CANCEL_S = 10
DEVICE = "one-core"
DRAWN_MS = 60_000

SCREENSHOTS = os.environ.get("SCREENSHOTS")
"""Folder for the pictures of the docs; they show the demo instead of the small run of the tests."""


class Compared(NamedTuple):
    """A small compare that ran through its deployment.

    Attributes:
        flow_run: Path of the flow run in the API.
        folder: Folder of the run.
    """

    flow_run: str
    folder: Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("prefect")
    with served(home, tmp_path_factory.getbasetemp()) as running:
        yield running


@pytest.fixture(scope="module")
def device(server: Served) -> Iterator[None]:
    """A worker like that of another host: it may use one core, and has a queue of its own."""
    core = min(os.sched_getaffinity(0))
    arguments = ["worker", "start", "--pool", "prunebench", "--work-queue", DEVICE]
    worker = subprocess.Popen(
        ["taskset", "-c", str(core), sys.executable, "-m", "prefect", *arguments],
        cwd=ROOT,
        env=server.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield
    worker.terminate()
    worker.wait()


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return share_steps(tmp_path_factory.mktemp("runs"), tmp_path_factory)


@pytest.fixture(scope="module")
def compared(server: Served, device: None, out: Path) -> Compared:
    config = tiny_values(out, retrain={"rounds": 0})
    config |= {"store": f"file://{out}/store", "devices": [DEVICE]}
    if SCREENSHOTS:
        config = {**yaml.safe_load((ROOT / "configs/quickstart.yaml").read_text()), "out": str(out)}
    flow_run = server.start("run-experiment/run-experiment", {"config": config})
    server.wait_for(flow_run, "COMPLETED")
    (folder,) = [path.parent for path in out.glob("*/ranking.json")]
    return Compared(flow_run, folder)


def deploy(server: Served, *options: str) -> list[str]:
    """First word of each line `prunebench deploy` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "deploy", *options],
        cwd=ROOT,
        env=server.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [line.split()[0] for line in done.stdout.splitlines()]


@pytest.mark.timeout(RUN_S + 3 * STARTUP_S)
def test_deploying_again_changes_nothing_and_mends_what_was_changed(server: Served) -> None:
    nightly = server.call("deployments/name/rebenchmark/rebenchmark")
    (schedule,) = nightly["schedules"]
    assert (schedule["slug"], schedule["schedule"]["timezone"]) == ("nightly", "UTC")
    (weekly,) = server.call("deployments/name/accuracy-check/accuracy-check")["schedules"]
    assert weekly["schedule"]["interval"] == 7 * 86400
    planned = set(planned_runs(server))

    assert set(deploy(server)) == {"keep"}
    # Nothing is doubled, and the runs that are due stay the same ones.
    assert planned <= set(planned_runs(server))
    for kind in ("automations", "work_pools", "deployments", "v2/concurrency_limits"):
        names = [one["name"] for one in server.call(f"{kind}/filter", {})]
        assert len(names) == len(set(names)) > 0

    request = {"paused": False, "description": "changed by hand"}
    patch(server, f"deployments/{nightly['id']}", request)
    assert deploy(server, "--check").count("update") == 1
    assert server.call(f"deployments/{nightly['id']}")["description"] == "changed by hand"
    assert deploy(server).count("update") == 1
    assert server.call(f"deployments/{nightly['id']}")["description"] == nightly["description"]
    assert set(deploy(server, "--check")) == {"keep"}


def planned_runs(server: Served) -> list[str]:
    """Identities of the runs that schedules have made, as soon as there are some."""
    deadline = time.monotonic() + RUN_S
    while not (found := server.call("flow_runs/filter", {"limit": 200})):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    return [run["id"] for run in found if run["auto_scheduled"]]


def patch(server: Served, path: str, body: dict[str, Any]) -> None:
    request = urllib.request.Request(
        f"{server.address}/api/{path}",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
        method="PATCH",
    )
    urllib.request.urlopen(request, timeout=30).close()


@pytest.mark.timeout(2 * RUN_S + 3 * STARTUP_S)
def test_a_run_is_seen_in_the_ui(server: Served, compared: Compared, tmp_path: Path) -> None:
    folder = Path(SCREENSHOTS or tmp_path)
    outcome = read_outcome(compared.folder)
    key = f"ranking-{outcome.name}-1-threads"
    deployment = server.call("deployments/name/run-experiment/run-experiment")["id"]
    requests: list[str] = []
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1440, "height": 860})
        page.on("request", lambda request: requests.append(request.url))

        flow_run = compared.flow_run.removeprefix("flow_runs/")
        page.goto(f"{server.address}/runs/flow-run/{flow_run}")
        see(page, outcome.name, "Completed", "Task Runs")
        page.get_by_text("Artifacts", exact=True).last.click()
        see(page, f"latency-{outcome.name}-")
        page.get_by_text("Task Runs", exact=True).click()
        see(page, "pruned: make", "pruned: accuracy", "latency of every variant", "publish")
        page.screenshot(path=folder / "prefect-run.png")

        # The history of a variant's key says how its latency moved.
        page.goto(f"{server.address}/artifacts/key/latency-{outcome.name}-pruned")
        see(page, "pruned: ", f"FPS, run {outcome.run}")
        (artifact,) = server.call("artifacts/filter", {"artifacts": {"key": {"any_": [key]}}})
        page.goto(f"{server.address}/artifacts/artifact/{artifact['id']}")
        see(page, *(row.name for row in outcome.rankings[0].rows), "verdict", "Pareto")
        page.screenshot(path=folder / "prefect-ranking.png")

        page.goto(f"{server.address}/deployments/deployment/{deployment}/run")
        see(page, "Trained Ultralytics checkpoint", "Letterbox height in pixels")
    assert all((folder / f"prefect-{name}.png").stat().st_size for name in ("run", "ranking"))
    # The browser, too, talks to the server alone.
    local = (server.address, f"blob:{server.address}", "data:")
    assert [url for url in requests if not url.startswith(local)] == []


def test_the_runs_log_says_what_happened(server: Served, compared: Compared) -> None:
    flow_run = compared.flow_run.removeprefix("flow_runs/")
    wanted = {"logs": {"flow_run_id": {"any_": [flow_run]}}, "limit": 200}
    texts = [log["message"] for log in server.call("logs/filter", wanted)]
    for start in (
        "baseline: unpruned",
        "pruned: pruned, ",
        "latency: round 3 measured",
        "ranked at",
    ):
        assert any(text.startswith(start) for text in texts), texts


def test_another_device_measures_the_same_files(compared: Compared) -> None:
    if SCREENSHOTS:
        pytest.skip("the demo has no devices")
    text = (compared.folder / DEVICES_FILE).read_text()
    (device,) = Devices.model_validate_json(text).devices
    assert device.failure is None
    assert device.run is not None
    assert device.ranking is not None
    assert device.fingerprint is not None
    assert device.fingerprint.logical_cores == 1
    assert read_latency(compared.folder).fingerprint.logical_cores == usable_cores()
    rows = device_rows(read_outcome(compared.folder), [device])
    assert {row["variant"] for row in rows} == {"baseline", "pruned"}
    assert all("FPS" in row[DEVICE] for row in rows)
    # What it measured came back through the store, and it has a history of its own.
    assert (compared.folder / "devices" / device.run / "ranking.json").is_file()
    home = compared.folder.parent / "devices" / DEVICE
    with Store(default_url(home)) as store:
        assert {point.run for point in history(store)} == {compared.folder.name, device.run}


def see(page: Page, *texts: str) -> None:
    """Wait until each text stands on the page."""
    for text in texts:
        page.get_by_text(text).first.wait_for(timeout=DRAWN_MS)


@pytest.mark.timeout(2 * RUN_S + 3 * STARTUP_S)
def test_what_is_promoted_is_measured_and_evaluated_again(
    server: Served, compared: Compared, tmp_path: Path
) -> None:
    names = {row.name for row in read_outcome(compared.folder).rankings[0].rows}
    assert names == {"baseline", "pruned"}
    registry = tmp_path / "registry"
    promote(compared.folder, "pruned", registry, anyway=True)

    # Three nights that were missed: one is made up for, the others are not.
    parameters = {"registry": str(registry), "out": str(compared.folder.parent)}
    nights = [server.start("rebenchmark/rebenchmark", parameters) for _ in range(3)]
    weekly = server.start("accuracy-check/accuracy-check", {"registry": str(registry)})
    ended = [server.wait_for(night, "COMPLETED", "CANCELLED")["type"] for night in nights]
    assert sorted(ended) == ["CANCELLED", "CANCELLED", "COMPLETED"]
    (again,) = compared.folder.parent.glob("*-rebenchmark/comparison.json")
    comparison = json.loads(again.read_text())
    assert comparison["before"] == compared.folder.name
    assert [change["variant"] for change in comparison["changes"]] == ["pruned"]
    assert [variant.name for variant in read_variants(again.parent)] == ["pruned"]

    state = server.wait_for(weekly, "COMPLETED")
    assert state["message"] == "1 promoted files are as accurate as recorded"


@pytest.mark.timeout(RUN_S + 2 * STARTUP_S)
def test_an_automation_answers_a_confirmed_regression(server: Served, tmp_path: Path) -> None:
    event = {
        "occurred": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "event": "prunebench.regression.confirmed",
        "id": "0192c5a4-0000-7000-8000-000000000001",
        "resource": {"prefect.resource.id": "prunebench.variant.tiny-pruned"},
        "payload": {"entry": "tiny-pruned", "sentence": "pruned is slower, for <b>."},
    }
    server.call("events", [event])
    deadline = time.monotonic() + RUN_S
    while not (found := regression_artifacts(server)):
        assert time.monotonic() < deadline, server.log()
        time.sleep(0.5)
    assert "pruned is slower, for &lt;b&gt;" in found[0]["data"]


def regression_artifacts(server: Served) -> list[dict[str, Any]]:
    wanted = {"artifacts": {"key": {"any_": ["regression-tiny-pruned"]}}}
    return list(server.call("artifacts/filter", wanted))


@pytest.mark.timeout(RUN_S + 2 * STARTUP_S)
def test_a_deployment_takes_no_unknown_key_and_no_file_outside(server: Served, out: Path) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        server.start("run-experiment/run-experiment", {"config": {**tiny_values(out), "prun": {}}})
    assert refused.value.code == 409
    outside = {**tiny_values(out), "model": "/etc/../etc/passwd"}
    flow_run = server.start("run-experiment/run-experiment", {"config": outside})
    message = server.wait_for(flow_run, "FAILED")["message"]
    assert "config.model: /etc/../etc/passwd lies outside the folders this worker allows" in message


@pytest.mark.timeout(RUN_S + 2 * STARTUP_S)
def test_cancelling_ends_the_training_at_once(server: Served, out: Path) -> None:
    flow_run = server.start(
        "run-experiment/run-experiment", {"config": tiny_values(out, retrain={"epochs": 1000})}
    )
    alive = wait_for_training(server)
    cancelling = {"type": "CANCELLING", "name": "Cancelling"}
    server.call(f"{flow_run}/set_state", {"state": cancelling})
    _, left = psutil.wait_procs(alive, timeout=CANCEL_S)
    assert [process.cmdline() for process in left + descendants(server.worker)] == []
    server.wait_for(flow_run, "CANCELLED")


def wait_for_training(server: Served) -> list[psutil.Process]:
    """Everything below the worker, as soon as a training is among it."""
    deadline = time.monotonic() + RUN_S
    while not any("train" in child.cmdline() for child in descendants(server.worker)):
        assert time.monotonic() < deadline, server.log()
        time.sleep(0.2)
    return descendants(server.worker)


@pytest.mark.timeout(RUN_S + 2 * STARTUP_S)
def test_ctrl_c_ends_everything_and_nothing_was_told_to_anyone(server: Served, out: Path) -> None:
    server.start(
        "run-experiment/run-experiment", {"config": tiny_values(out, retrain={"epochs": 1001})}
    )
    deadline = time.monotonic() + RUN_S
    while not (alive := descendants(server.worker)):
        assert time.monotonic() < deadline, server.log()
        time.sleep(0.2)
    assert end(server.process) == []
    assert server.process.returncode == INTERRUPTED
    assert [process for process in alive if process.is_running()] == []

    seen = [
        line.split("\t")
        for path in server.connections.iterdir()
        for line in path.read_text().splitlines()
    ]
    # The server, the worker, the flow runs and their children were all watched.
    assert any("prefect" in arguments for _, arguments in seen)
    told = [(address, arguments) for address, arguments in seen if not is_local(address)]
    assert told == []


def is_local(address: str) -> bool:
    """Whether an address, as the audit hook wrote it, is of this host."""
    value = ast.literal_eval(address)
    host = value[0] if isinstance(value, tuple) else value
    return host in (None, "127.0.0.1", "::1", "localhost") or str(host).startswith("/")
