"""What every level of the tests shares: a small real model on small real data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Two workers share the cores, so each computes with one thread; read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example takes says nothing on a shared machine.
settings.register_profile(
    "shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("shared machine")

ROOT = Path(__file__).parents[1]
ASSET = ROOT / "assets" / "scenes-yolov8n.pt"

REQUIRE_SYSTEM_PACKAGES = "REQUIRE_SYSTEM_PACKAGES"


def pytest_itemcollected(item: pytest.Item) -> None:
    """Keep the tests of one file, and so its fixtures, on one worker."""
    # Not in pytest_collection_modifyitems: pytest-xdist reads the groups there, before us.
    if item.path.parent.name in ("core", "models", "processes"):
        item.add_marker(pytest.mark.xdist_group(item.path.stem))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the long tests first, so that no worker waits for one at the end."""
    items.sort(key=lambda item: "core" in item.path.parts)


def missing_system_package(reason: str) -> None:
    """Skip a test for want of a system package; fail it where CI has installed them all."""
    if os.environ.get(REQUIRE_SYSTEM_PACKAGES):
        pytest.fail(reason)
    pytest.skip(reason)


def tiny_values(out: Path, **changes: Any) -> dict[str, Any]:
    """A configuration that runs the whole chain in about a minute."""
    values: dict[str, Any] = {
        "name": "tiny",
        "model": str(ASSET),
        "data": "scenes:train=16,val=8,test=8",
        "out": str(out),
        "image": {"height": 64, "width": 96},
        "prune": {"ratio": 0.3, "bn_batches": 1},
        "retrain": {
            "rounds": 1,
            "epochs": 1,
            "imgsz": 64,
            "batch": 8,
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
