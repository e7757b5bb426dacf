"""Core tests: with several workers, the tests of one file share a worker and its fixtures."""

from __future__ import annotations

from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


def pytest_itemcollected(item: pytest.Item) -> None:
    # Not in pytest_collection_modifyitems: pytest-xdist reads the groups there, before us.
    if FOLDER in item.path.parents:
        item.add_marker(pytest.mark.xdist_group(item.path.stem))
