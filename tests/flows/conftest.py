"""One Prefect server for all flow tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness_kit import harness


@pytest.fixture(scope="session", autouse=True)
def prefect_harness() -> Iterator[None]:
    with harness():
        yield
