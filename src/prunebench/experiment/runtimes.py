"""Which runtimes a configuration asks for besides onnxruntime, and what each needs installed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import get_args

from prunebench.common.errors import ConfigError
from prunebench.common.records import Runtime
from prunebench.common.text import listed
from prunebench.config.loading import Config, RuntimeName

PACKAGES: Mapping[str, tuple[str, ...]] = {
    "openvino": ("openvino",),
    "ncnn": ("ncnn", "pnnx"),
    "mnn": ("MNN",),
    "litert": ("ai-edge-litert",),
    "nncf": ("openvino", "nncf"),
}
"""An extra of ours to what runs its files and makes them."""


def extra_of(runtime: str) -> str:
    """The extra that a runtime is installed by: its name, or that of what makes its files."""
    library, _, own = runtime.partition("-")
    return own if own in PACKAGES else library


def runtimes_of(config: Config) -> tuple[Runtime, ...]:
    """The runtimes a configuration asks for; ConfigError where one, or any, is not installed."""
    asked = config.runtimes
    if asked is None and "runtime" not in config.controls:
        return ()
    found, missing = [], []
    for name in asked or get_args(RuntimeName):
        packages = PACKAGES[extra_of(name)]
        try:
            versions = [f"{package} {version(package)}" for package in packages]
        except PackageNotFoundError:
            missing.append(name)
        else:
            found.append(Runtime(name=name, version=", ".join(versions)))
    if asked and missing:
        extras = ",".join(dict.fromkeys(map(extra_of, missing)))
        raise ConfigError(
            f"{listed(missing)} {'is' if len(missing) == 1 else 'are'} not installed",
            where="runtimes",
            fix=f"install what is missing with: pip install 'prunebench[{extras}]'",
        )
    if not found:
        raise ConfigError(
            "no other runtime is installed",
            where="controls",
            fix=f"install one, as with: pip install 'prunebench[{extra_of(missing[0])}]'",
        )
    return tuple(found)
