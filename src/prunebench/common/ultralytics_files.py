"""Ultralytics opens the file it is given: under its own name, locally, and running no code of it.

Its helpers strip quotes from a path, rename ``yolov5n.pt`` to ``yolov5nu.pt`` and ``menu.yaml``
below a folder ``yolov5`` to ``men.yaml``, cut names at a question mark, and ask the network for
what is not found. Every path goes through these few functions, so they are replaced for the
process.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

OLD_MODULES = {
    "loss": ("BboxLoss", "v8DetectionLoss", "v8SegmentationLoss"),
    "tal": ("TaskAlignedAssigner",),
}
"""Classes that Ultralytics 8.0.100 to 8.0.135 pickled with a network, below ``yolo.utils`` then."""


def import_offline() -> None:
    """Import Ultralytics without the look for a network that it takes at that moment."""
    given = os.environ.get("YOLO_OFFLINE")
    os.environ["YOLO_OFFLINE"] = "true"
    try:
        importlib.import_module("ultralytics.utils")
    finally:
        # A data set that is asked for by its name is fetched all the same.
        del os.environ["YOLO_OFFLINE"]
        if given is not None:
            os.environ["YOLO_OFFLINE"] = given


def open_as_named() -> None:
    """Let Ultralytics take every path that exists as it is, fetch none, and trust none."""
    import_offline()
    import torch
    from ultralytics import utils
    from ultralytics.nn import tasks
    from ultralytics.utils import checks, downloads, loss, tal  # noqa: F401

    ultralytics_tasks: Any = tasks
    helpers: Any = checks
    # A network's description may name an activation, which is evaluated otherwise.
    ultralytics_tasks.SAFE_LOAD = True
    ultralytics_tasks.check_suffix = _any_suffix
    downloads.attempt_download_asset = _local_only
    if not hasattr(helpers.check_yolov5u_filename, "__wrapped__"):
        helpers.check_yolov5u_filename = _as_it_is(helpers.check_yolov5u_filename)
        torch.serialization.add_safe_globals(
            [
                (getattr(getattr(utils, module), name), f"ultralytics.yolo.utils.{module}.{name}")
                for module, names in OLD_MODULES.items()
                for name in names
            ]
        )


def _as_it_is(rename: Callable[..., str]) -> Callable[..., str]:
    def keep(file: str, *given: Any, **named: Any) -> str:
        return file if Path(file).exists() else rename(file, *given, **named)

    keep.__wrapped__ = rename  # type: ignore[attr-defined]
    return keep


def _any_suffix(*_: Any, **__: Any) -> None:
    """Whether a file is a checkpoint is seen by its content (``checkpoint_faults``)."""


def _local_only(file: str | Path, *_: Any, **__: Any) -> str:
    if not Path(file).exists():
        raise FileNotFoundError(f"{file} does not exist")
    return str(file)
