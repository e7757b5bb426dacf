"""The section ``mlflow`` of the configuration, and whether this host can do what it asks."""

from __future__ import annotations

import importlib.util
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from prunebench.common.errors import ConfigError
from prunebench.config.sections import Section


class MlflowConfig(Section):
    """MLflow server that every finished run is logged to (extra ``mlflow``)."""

    uri: str = Field(
        description="http:// or https:// address of the server. Name and password: "
        "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in the environment."
    )
    experiment: str = Field(
        "prunebench", min_length=1, description="Experiment there; created if missing."
    )
    models: bool = Field(False, description="Send the ONNX files too.")

    @field_validator("uri")
    @classmethod
    def _of_a_server(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("it is not the address of a server such as http://localhost:5000")
        if parts.username is not None:
            raise ValueError(
                "every run's folder shows it, so leave name and password to "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            )
        return value.rstrip("/")


def require_mlflow() -> None:
    """Refuse, with a ConfigError, to log where the extra is not installed."""
    if importlib.util.find_spec("mlflow") is None:
        raise ConfigError(
            "logging to MLflow needs its client",
            where="mlflow",
            fix="install it (pip install 'prunebench[mlflow]') or leave the section out",
        )
