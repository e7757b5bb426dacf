"""What the parameters of a deployment's run may reach; a run by hand may reach everything."""

from __future__ import annotations

import os
from pathlib import Path

from prefect.runtime import deployment

from prunebench.config.loading import Config
from prunebench.operating.allowed_paths import (
    allowed_roots,
    check_address,
    check_config,
    check_mlflow,
    check_path,
    check_store,
)


def confine(**paths: str | None) -> None:
    """Refuse paths outside the worker's allowed folders, in a run of a deployment.

    Raises:
        InputError: A path lies outside; it is named with its parameter.
    """
    if deployment.id is None:
        return
    for key, value in paths.items():
        if value is not None:
            check_path(key, str(Path(value).expanduser().absolute()), allowed_roots())


def confine_config(config: Config) -> None:
    """Refuse a configuration that reaches further, in a run of a deployment.

    Raises:
        InputError: It names a file outside the allowed folders, or a database server, a store, a
            Dask cluster or an MLflow server that the worker's operator has not named.
    """
    if deployment.id is not None:
        check_config(config, allowed_roots(), os.environ.get("PRUNEBENCH_HISTORY"))
        confine_store(config.store)
        if config.address is not None:
            check_address(config.address, os.environ.get("PRUNEBENCH_ADDRESS"))
        if config.mlflow is not None:
            check_mlflow(config.mlflow.uri, os.environ.get("MLFLOW_TRACKING_URI"))


def confine_store(url: str | None) -> None:
    """Refuse a store that the worker's operator has not named, in a run of a deployment.

    Raises:
        InputError: It is neither ``PRUNEBENCH_STORE`` nor a folder below an allowed one.
    """
    if deployment.id is not None and url is not None:
        check_store(url, allowed_roots(), os.environ.get("PRUNEBENCH_STORE"))
