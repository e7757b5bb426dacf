"""Another try for what comes back by itself: a Prefect server, a store, a database, a disk."""

from __future__ import annotations

import errno
import functools
import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx
from prefect import task
from sqlalchemy.exc import InterfaceError, OperationalError

from prunebench.common.files import FULL_DISK

RETRIES = 8
RETRY_DELAY_S = 10
"""Together 80 seconds, on top of what Prefect's client waits itself."""

SERVER_ERROR = 500

LASTING = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError)
"""What does not pass by itself; a store raises a plain ``OSError`` while it is out of reach."""

T = TypeVar("T")


def is_passing(error: Any) -> bool:
    """Whether another attempt can mend an error: never a failed step, bad input or a missing file.

    Prefect's client itself tries again, but not where its first connection is refused.
    """
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= SERVER_ERROR
    if isinstance(error, OSError):
        return not isinstance(error, LASTING) and error.errno not in (*FULL_DISK, errno.EROFS)
    # The history tells of its database in a sentence of its own. Other errors of a database last:
    # a file that is none, or is damaged.
    cause = getattr(error, "__cause__", None)
    passing = (OperationalError, InterfaceError)
    return isinstance(error, httpx.TransportError) or isinstance(cause, passing)


def _is_worth_a_retry(task: Any, task_run: Any, state: Any) -> bool:
    return is_passing(state.result(raise_on_failure=False))


retried_task = functools.partial(
    task,
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAY_S,
    retry_condition_fn=_is_worth_a_retry,
    persist_result=False,
)
"""A task that is tried again where ``is_passing`` says so."""


def retried(call: Callable[[], T]) -> T:
    """Make a call outside of a task, again where ``is_passing`` says so."""
    for _ in range(RETRIES):
        try:
            return call()
        except Exception as error:
            if not is_passing(error):
                raise
            time.sleep(RETRY_DELAY_S)
    return call()
