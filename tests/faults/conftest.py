"""Each file has a rig of its own, so that the files can run beside each other."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from rig_kit import Rig, running_rig

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what runs in its background so, and what is started here would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with running_rig(tmp_path_factory.mktemp("faults")) as running:
        yield running
