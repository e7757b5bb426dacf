"""The demo's configuration, from a checkout or from an installed package."""

from __future__ import annotations

from pathlib import Path

from prunebench.config.loading import Config, load_config

PACKAGED = Path(__file__).parents[1] / "demo_files"
CHECKOUT = Path(__file__).parents[3]


def demo_config(out: str | None = None) -> Config:
    """The demo: the shipped checkpoint on the built-in scenes, with ``out`` as folder for runs."""
    root = PACKAGED if PACKAGED.is_dir() else CHECKOUT
    overrides = {"model": str(root / "assets" / "scenes-yolov8n.pt")}
    if out is not None:
        overrides["out"] = out
    return load_config(root / "configs" / "quickstart.yaml", overrides=overrides)
