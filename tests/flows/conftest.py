"""The only place that starts Prefect's test harness: once per session, for the flow tests."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.testing.utilities import prefect_test_harness

SERVER_STARTUP_S = 180
"""The first start migrates a fresh database, which takes a while on a loaded machine."""


def pytest_itemcollected(item: pytest.Item) -> None:
    if Path(__file__).parent in item.path.parents:
        item.add_marker(pytest.mark.xdist_group("flows"))


@pytest.fixture(scope="session", autouse=True)
def prefect_harness() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=SERVER_STARTUP_S):
        yield
    # Prefect stops its server when the interpreter exits and says so on a stream that is closed.
    logging.getLogger("prefect").setLevel(logging.WARNING)
