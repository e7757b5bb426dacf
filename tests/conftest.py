"""What every level of the tests shares: a small real model on small real data."""

from __future__ import annotations

import atexit
import importlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from prunebench.common.errors import PrunebenchError, error_of, values_of
from prunebench.results.run_folder import STEPS_FOLDER
from prunebench.steps.child import STEP_MODULES

# Two workers share the cores, so each computes with one thread; read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The host's measuring lock lies in the temporary folder: with one for each worker, no test waits
# until a test of the other worker has measured.
if "PYTEST_XDIST_WORKER" in os.environ:
    tempfile.tempdir = os.environ["TMPDIR"] = tempfile.mkdtemp(prefix="prunebench-tests-")
    Path(tempfile.tempdir).chmod(0o755)  # PostgreSQL's own user has to reach its folder.
    atexit.register(shutil.rmtree, tempfile.tempdir, ignore_errors=True)

# How long an example takes says nothing on a shared machine.
settings.register_profile(
    "shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("shared machine")

ROOT = Path(__file__).parents[1]
ASSET = ROOT / "assets" / "scenes-yolov8n.pt"

REQUIRE_SYSTEM_PACKAGES = "REQUIRE_SYSTEM_PACKAGES"


def pytest_itemcollected(item: pytest.Item) -> None:
    """Keep the tests of one file, and so its fixtures, on one worker; the flow tests share more."""
    # Not in pytest_collection_modifyitems: pytest-xdist reads the groups there, before us.
    group = "flows" if item.path.parent.name == "flows" else item.path.stem
    item.add_marker(pytest.mark.xdist_group(group))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the long tests first, so that no worker waits for one at the end."""
    order = {"flows": 0, "faults": 0, "core": 2}
    items.sort(key=lambda item: order.get(item.path.relative_to(ROOT / "tests").parts[0], 1))


def run_here(step: str, request: Any, workdir: Path, **_: Any) -> dict[str, Any]:
    """As ``run_child``, in this process: a child imports torch every time."""
    module = importlib.import_module(STEP_MODULES[step])
    asked = module.Request.model_validate_json(request.model_dump_json())
    try:
        found = module.run(asked, workdir, lambda _: None)
    except PrunebenchError as error:
        raise error_of(json.loads(json.dumps(values_of(error)))) from None
    return dict(json.loads(found.model_dump_json()))


@pytest.fixture
def given_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the model of a configuration in this process."""
    monkeypatch.setattr("prunebench.experiment.given_model.run_child", run_here)


@pytest.fixture
def steps_here(monkeypatch: pytest.MonkeyPatch, given_here: None) -> None:
    """Run every step in this process."""
    monkeypatch.setattr("prunebench.steps.cache.run_child", run_here)


def missing_system_package(reason: str) -> None:
    """Skip a test for want of a system package; fail it where CI has installed them all."""
    if os.environ.get(REQUIRE_SYSTEM_PACKAGES):
        pytest.fail(reason)
    pytest.skip(reason)


def share_steps(out: Path, factory: pytest.TempPathFactory) -> Path:
    """Let the output folder ``out`` find what tests of any worker made with the same settings."""
    base = factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "steps"
    shared.mkdir(exist_ok=True)
    out.mkdir(exist_ok=True)
    (out / STEPS_FOLDER).symlink_to(shared)
    return out


def tiny_values(out: Path, **changes: Any) -> dict[str, Any]:
    """A configuration that runs the whole chain in about a minute.

    It has just enough test images for a difference in accuracy to be declared, and no control
    `retrained`, which is one more training.
    """
    values: dict[str, Any] = {
        "name": "tiny",
        "model": str(ASSET),
        "data": "scenes:train=16,val=8,test=24",
        "out": str(out),
        "image": {"height": 96, "width": 160},
        "prune": {"target": 0.3, "allocation": "uniform", "bn_batches": 1},
        "retrain": {
            "rounds": 1,
            "epochs": 1,
            "imgsz": 64,
            "batch": 8,
            "control": False,
            "strategies": {"standard": {}, "preserving": {"lr0": 0.001}},
        },
        "export": {"parity_images": 2},
        "latency": {
            "threads": [1],
            "rounds_min": 3,
            "rounds_max": 3,
            "seconds": 0.05,
            "warmup": 1,
            "images": 2,
            "paced": False,
        },
        "ranking": {"bootstrap": 200},
    }
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(values.get(key), dict):
            values[key] = {**values[key], **value}
        else:
            values[key] = value
    return values
