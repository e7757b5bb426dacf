"""The only place that starts Prefect's test harness."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from prefect.testing.utilities import prefect_test_harness

SERVER_STARTUP_S = 180
"""The first start migrates a fresh database, which takes a while on a loaded machine."""


@contextlib.contextmanager
def harness() -> Iterator[None]:
    """Run the flows of this process on a server of their own."""
    with prefect_test_harness(server_startup_timeout=SERVER_STARTUP_S):
        yield
    # Prefect stops its server when the interpreter exits and says so on a stream that is closed.
    logging.getLogger("prefect").setLevel(logging.WARNING)
