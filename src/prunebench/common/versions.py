"""The library versions this package was tested with."""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Mapping

from prunebench.common.errors import EnvironmentMismatch

TESTED: Mapping[str, str] = {
    "ultralytics": "8.4",
    "torch": "2.14",
    "torch-pruning": "1.6",
    "onnxruntime": "1.32",
}
"""Distribution to the release series whose internals this package relies on."""

OPENCV = ("opencv-python-headless", "opencv-python")
"""Distributions of the module cv2, of which one is installed."""


def version_of(distribution: str) -> str:
    """Installed version of a distribution; that of OpenCV is named ``opencv``, whichever it is."""
    if distribution != "opencv":
        return importlib.metadata.version(distribution)
    for name in OPENCV:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return "unknown"


def installed_versions() -> dict[str, str]:
    """Installed version of each tested distribution; a missing one is left out."""
    found = {}
    for name in TESTED:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def check_versions() -> None:
    """Refuse, with an EnvironmentMismatch, to start with a library outside its tested series."""
    found = installed_versions()
    for name, series in TESTED.items():
        fix = f"install it with: pip install '{name}=={series}.*'"
        if name not in found:
            raise EnvironmentMismatch(f"{name} is not installed", fix=fix)
        if not in_series(found[name], series):
            raise EnvironmentMismatch(
                f"{name} {found[name]} is installed, tested is {series}.x", fix=fix
            )


def in_series(version: str, series: str) -> bool:
    """Whether a version belongs to a release series ("1.32.0+cpu" to "1.32")."""
    wanted = series.split(".")
    return version.split("+", 1)[0].split(".")[: len(wanted)] == wanted
