"""Only one run measures on a host: Prefect's part is a global concurrency limit per host."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.concurrency.sync import concurrency

from prunebench.common.text import slug


def host_label() -> str:
    """Name of this host as part of a limit's name."""
    return slug(socket.gethostname())


def measuring_limit_name() -> str:
    """Name of this host's limit."""
    return f"prunebench-measure-{host_label()}"


@contextlib.contextmanager
def measuring_slot() -> Iterator[None]:
    """Occupy this host's one measuring slot. Call it with the host's file lock held.

    ``concurrency`` with an unknown limit only warns, so the limit is made first and asked for
    strictly. Whoever holds the file lock is alone on this host, so a slot that is still taken
    belongs to a killed run and is freed; a server that forgets about this one ends no measurement.
    """
    name = measuring_limit_name()
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(name, limit=1)
        # Written only where it must be: a server on SQLite answers a write beside another one
        # with "try again", and the client then waits for two seconds.
        if client.read_global_concurrency_limit_by_name(name).active_slots:
            freed = GlobalConcurrencyLimitUpdate(active_slots=0)
            client.update_global_concurrency_limit(name, freed)
    with concurrency(name, occupy=1, strict=True, raise_on_lease_renewal_failure=False):
        yield
