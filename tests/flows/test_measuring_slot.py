"""Prefect's account of who measures on this host."""

from __future__ import annotations

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate

from tasks.measuring_limit import measuring_limit_name, measuring_slot


def taken() -> int:
    with get_client(sync_client=True) as client:
        return client.read_global_concurrency_limit_by_name(measuring_limit_name()).active_slots


def test_a_slot_that_a_killed_run_left_taken_is_freed() -> None:
    with measuring_slot():
        assert taken() == 1
    assert taken() == 0
    with get_client(sync_client=True) as client:
        left = GlobalConcurrencyLimitUpdate(active_slots=1)
        client.update_global_concurrency_limit(measuring_limit_name(), left)
    with measuring_slot():
        assert taken() == 1
    assert taken() == 0
