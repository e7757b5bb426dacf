"""A run's progress in its Prefect log, which the UI shows."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from prefect.context import FlowRunContext
from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger

from prunebench.common.text import counted
from prunebench.results.outcome import RunRanking
from prunebench.steps.events import Event, Timed, line, listening

LEVELS = {"restored": logging.WARNING, "failed": logging.ERROR}
"""Kinds of events that are more than information."""

UNTOLD = ("batch", "progress")
"""Kinds of events that would only fill the log."""


@contextlib.contextmanager
def progress_logged() -> Iterator[None]:
    """Write the progress of the flow run that the block belongs to into its log."""
    flow_log = get_run_logger()
    flow_run = _flow_run_id()

    def on_event(event: Event) -> None:
        told = as_entry(event)
        # Events of another flow of this process arrive here too.
        if told is None or _flow_run_id() not in (flow_run, None):
            return
        try:
            # In a task's thread: the task's own log, which is part of the flow's.
            log = get_run_logger()
        except MissingContextError:
            log = flow_log
        log.log(*told)

    with listening(on_event):
        yield


def as_entry(event: Event) -> tuple[int, str] | None:
    """Level and text of a log entry for an event, ``None`` where it is not worth one."""
    if isinstance(event, Timed):
        if event.run < event.runs:
            return None
        return logging.INFO, f"latency: round {event.round} measured, {event.runs} runs"
    if event.kind in UNTOLD:
        return None
    return LEVELS.get(event.kind, logging.INFO), line(event)


def log_ranking(outcome: RunRanking) -> None:
    """Write the order of the variants into the log, a line per thread count."""
    for ranking in outcome.rankings:
        order = ", ".join(f"{row.label} {row.name}" for row in ranking.rows)
        get_run_logger().info("ranked at %s: %s", counted(ranking.threads, "thread"), order)


def _flow_run_id() -> Any:
    context = FlowRunContext.get()
    return None if context is None or context.flow_run is None else context.flow_run.id
