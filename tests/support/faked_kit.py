"""How a test steers a run whose steps are faked (see ``faked_flow``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.conftest import ASSET

TEMPLATE = "template"


def faked_values(out: Path, **changes: Any) -> dict[str, Any]:
    """Configuration of a faked run."""
    values = {"name": out.name, "model": str(ASSET), "data": "scenes", "out": str(out)}
    return {**values, "retrain": {"rounds": 0}, **changes}


def hold(out: Path, step: str) -> None:
    """Keep runs from going on beyond the beginning of ``step``."""
    (out / f"hold-{step}").touch()


def release(out: Path, step: str) -> None:
    """Let runs go on."""
    (out / f"hold-{step}").unlink()


def reached(out: Path, step: str) -> bool:
    """Whether a run has begun ``step``."""
    return (out / f"at-{step}").exists()
