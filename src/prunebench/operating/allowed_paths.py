"""Where the files that a deployment's parameters name may lie.

Whoever may start a run of a deployment chooses its parameters, from another machine perhaps; the
worker's operator chooses the folders those may reach: ``PRUNEBENCH_ALLOWED_ROOTS``, separated as
in ``PATH``, or else the folder the worker's flows run in.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from prunebench.common.errors import ConfigError, InputError
from prunebench.config.loading import ROOTS_VARIABLE, Config
from prunebench.results.history.store import SQLITE


def allowed_roots(environ: Mapping[str, str] | None = None) -> tuple[Path, ...]:
    """The folders, resolved."""
    environ = os.environ if environ is None else environ
    named = [part for part in environ.get(ROOTS_VARIABLE, "").split(os.pathsep) if part]
    return tuple(Path(part).expanduser().resolve() for part in named or ["."])


def check_path(key: str, value: str, roots: tuple[Path, ...]) -> None:
    """Refuse a path that lies outside the allowed folders, also by a link or ``..``.

    Args:
        key: Name of the parameter, for the error.
        value: The path; a name without a separator that is no file is no path.
        roots: As ``allowed_roots`` gives them.

    Raises:
        InputError: It lies outside.
    """
    path = Path(value).expanduser()
    if os.sep not in value and not path.exists():
        return
    if not any(path.resolve().is_relative_to(root) for root in roots):
        raise InputError(
            f"{value} lies outside the folders this worker allows "
            f"({', '.join(str(root) for root in roots)})",
            where=key,
            fix=f"name a file in one of them, or let the operator set {ROOTS_VARIABLE}",
        )


def check_config(config: Config, roots: tuple[Path, ...], own_history: str | None) -> None:
    """Refuse a configuration that names a file outside, or a database of its own.

    Args:
        config: The configuration.
        roots: As ``allowed_roots`` gives them.
        own_history: URL of the history that the worker's operator has set, if any.

    Raises:
        InputError: It does.
    """
    for key, value in _paths(config):
        check_path(f"config.{key}", value, roots)
    if config.history is None or config.history == own_history:
        return
    try:
        url = make_url(config.history)
    except ArgumentError as error:
        raise ConfigError("it is no database URL", where="config.history") from error
    if url.get_backend_name() != SQLITE:
        raise _operators_choice("a database server", "config.history", "PRUNEBENCH_HISTORY")
    check_path("config.history", str(Path(url.database or "").absolute()), roots)


def check_store(url: str, roots: tuple[Path, ...], own_store: str | None) -> None:
    """Refuse a store that is neither the operator's nor a folder below an allowed one.

    Args:
        url: fsspec URL of the store.
        roots: As ``allowed_roots`` gives them.
        own_store: URL that the worker's operator has set, if any.

    Raises:
        InputError: It is another one.
    """
    if url == own_store:
        return
    protocol, separator, path = url.rpartition("://")
    if "::" in url or (separator and protocol != "file"):
        raise _operators_choice("a store on another host", "store", "PRUNEBENCH_STORE")
    check_path("store", str(Path(path).absolute()), roots)


def check_address(address: str, own_address: str | None) -> None:
    """Refuse a Dask cluster that is not the operator's: what it answers is run here.

    Args:
        address: Address of its scheduler.
        own_address: The one that the worker's operator has set, if any.

    Raises:
        InputError: It is another one.
    """
    if address != own_address:
        raise _operators_choice("a Dask cluster", "config.address", "PRUNEBENCH_ADDRESS")


def check_mlflow(uri: str, own_uri: str | None) -> None:
    """Refuse an MLflow server that the worker's operator has not named.

    Args:
        uri: Address of the server.
        own_uri: Address that the operator has set, if any.

    Raises:
        InputError: It is another one.
    """
    if uri != (own_uri or "").rstrip("/"):
        raise _operators_choice("an MLflow server", "config.mlflow.uri", "MLFLOW_TRACKING_URI")


def _operators_choice(what: str, where: str, variable: str) -> InputError:
    """That a run chose what only its worker's operator may, by a variable of the environment."""
    return InputError(
        f"a run of a deployment cannot choose {what}",
        where=where,
        fix=f"leave it out, or let the operator set {variable} to it",
    )


def _paths(config: Config) -> Iterator[tuple[str, str]]:
    yield "model", config.model
    yield "data", config.data
    yield "out", str(Path(config.out).expanduser().absolute())
