"""Waiting for what comes back by itself: a Prefect server, a store or a database out of reach."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx
from prefect import task
from sqlalchemy.exc import DBAPIError

RETRIES = 8
RETRY_DELAY_S = 10
"""Together 80 seconds, on top of what Prefect's client waits itself."""

SERVER_ERROR = 500

T = TypeVar("T")


def is_server_gone(task: Any, task_run: Any, state: Any) -> bool:
    """Whether an attempt failed because Prefect's server, or the database behind it, was away.

    The client itself tries again, but not where its first connection is refused.
    """
    return _is_server_gone(state.result(raise_on_failure=False))


def is_out_of_reach(task: Any, task_run: Any, state: Any) -> bool:
    """Whether it failed because the server, a file or the history's database was out of reach."""
    error = state.result(raise_on_failure=False)
    passing = (OSError, DBAPIError)
    return _is_server_gone(error) or any(isinstance(e, passing) for e in (error, error.__cause__))


patient_task = functools.partial(
    task,
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAY_S,
    retry_condition_fn=is_server_gone,
    persist_result=False,
)
"""A task that waits for the server."""


def patiently(call: Callable[[], T]) -> T:
    """Call what needs the server outside of a task; wait for the server where it is gone."""
    for _ in range(RETRIES):
        try:
            return call()
        except httpx.HTTPError as error:
            if not _is_server_gone(error):
                raise
            time.sleep(RETRY_DELAY_S)
    return call()


def _is_server_gone(error: Any) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= SERVER_ERROR
    return isinstance(error, httpx.TransportError)
