"""A run whose process is gone could not report its end: the next run marks it as crashed."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run
from prefect.states import Crashed

from prunebench.common.files import write_atomically
from tasks.retries import retried

LAST_RUN_FILE = ".flow-run"
GONE = "Its process is gone. Another run goes on where it was."


def settle_last_run(out: Path) -> None:
    """Mark the run before this one as crashed where its state says that it is under way.

    Call it as the sole user of the output folder: then that run cannot be alive.
    """
    path = out / LAST_RUN_FILE
    with contextlib.suppress(OSError, ValueError):
        retried(functools.partial(_settle, UUID(path.read_text(encoding="utf-8"))))
    write_atomically(path, str(flow_run.id))


def _settle(last: UUID) -> None:
    # A run by hand may have had a server of its own.
    with contextlib.suppress(ObjectNotFound), get_client(sync_client=True) as client:
        state = client.read_flow_run(last).state
        if str(last) != flow_run.id and state is not None and not state.is_final():
            client.set_flow_run_state(last, Crashed(message=GONE))
