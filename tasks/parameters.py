"""What the parameters of a deployment's run may reach; a run by hand may reach everything."""

from __future__ import annotations

import os
from pathlib import Path

from prefect.runtime import deployment

from prunebench.config.loading import Config
from prunebench.operating.allowed_paths import check_config, check_path, check_store


def confine(*, config: Config | None = None, store: str | None = None, **paths: str | None) -> None:
    """Refuse parameters that reach further than the worker's operator allows, in a deployment.

    Args:
        config: A configuration.
        store: URL of a store.
        paths: Files and folders by the name of their parameter.

    Raises:
        InputError: One does; it is named with its parameter.
    """
    if deployment.id is None:
        return
    if config is not None:
        check_config(config, os.environ)
    if store is not None:
        check_store(store, os.environ)
    for key, value in paths.items():
        if value is not None:
            check_path(key, str(Path(value).expanduser().absolute()), os.environ)
