"""Where the files that a deployment's parameters name may lie.

Whoever may start a run of a deployment chooses its parameters; the worker's operator chooses what
those may reach: the folder the flows run in, and those of ``PRUNEBENCH_ALLOWED_ROOTS``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from prunebench.common.errors import ConfigError, InputError
from prunebench.config.loading import ROOTS_VARIABLE, Config
from prunebench.results.history.store import SQLITE


def check_path(key: str, value: str, environ: Mapping[str, str]) -> None:
    """Refuse the parameter ``key`` outside the allowed folders, also by a link or ``..``.

    A name without a separator that is not a file is not a path.
    """
    path = Path(value).expanduser()
    if os.sep not in value and not path.exists():
        return
    named = [part for part in environ.get(ROOTS_VARIABLE, "").split(os.pathsep) if part]
    roots = [Path(part).expanduser().resolve() for part in (".", *named)]
    if not any(path.resolve().is_relative_to(root) for root in roots):
        raise InputError(
            f"{value} lies outside the folders this worker allows "
            f"({', '.join(str(root) for root in roots)})",
            where=key,
            fix=f"name a file in one of them, or let the operator set {ROOTS_VARIABLE}",
        )


def check_config(config: Config, environ: Mapping[str, str]) -> None:
    """Refuse a configuration that reaches further than the worker's operator allows.

    Raises:
        InputError: It names a file outside the allowed folders, or a database server, a store, a
            Dask cluster (what it answers is run here) or an MLflow server that the environment
            does not name.
    """
    check_path("config.model", config.model, environ)
    check_path("config.data", config.data, environ)
    check_path("config.retrain.recipe", config.retrain.recipe, environ)
    if config.prune.widths is not None:
        check_path("config.prune.widths", config.prune.widths, environ)
    check_path("config.out", str(Path(config.out).expanduser().absolute()), environ)
    if config.history is not None and config.history != environ.get("PRUNEBENCH_HISTORY"):
        try:
            url = make_url(config.history)
        except ArgumentError as error:
            raise ConfigError("it is not a database URL", where="config.history") from error
        if url.get_backend_name() != SQLITE:
            raise _operators_choice("a database server", "config.history", "PRUNEBENCH_HISTORY")
        check_path("config.history", str(Path(url.database or "").absolute()), environ)
    if config.store is not None:
        check_store(config.store, environ)
    if config.address is not None and config.address != environ.get("PRUNEBENCH_ADDRESS"):
        raise _operators_choice("a Dask cluster", "config.address", "PRUNEBENCH_ADDRESS")
    own_mlflow = environ.get("MLFLOW_TRACKING_URI", "").rstrip("/")
    if config.mlflow is not None and config.mlflow.uri != own_mlflow:
        raise _operators_choice("an MLflow server", "config.mlflow.uri", "MLFLOW_TRACKING_URI")


def check_store(url: str, environ: Mapping[str, str]) -> None:
    """Refuse an fsspec URL that is neither the operator's store nor an allowed folder."""
    if url == environ.get("PRUNEBENCH_STORE"):
        return
    protocol, separator, path = url.rpartition("://")
    if "::" in url or (separator and protocol != "file"):
        raise _operators_choice("a store on another host", "store", "PRUNEBENCH_STORE")
    check_path("store", str(Path(path).absolute()), environ)


def _operators_choice(what: str, where: str, variable: str) -> InputError:
    return InputError(
        f"a run of a deployment cannot choose {what}",
        where=where,
        fix=f"leave it out, or let the operator set {variable} to it",
    )
