"""Each file has a rig of its own, so that the files can run beside each other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from rig_kit import Rig, running_rig


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with running_rig(tmp_path_factory.mktemp("faults")) as running:
        yield running
