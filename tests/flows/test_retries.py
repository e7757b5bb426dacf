"""What is tried again, and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from prunebench.common.errors import InputError
from prunebench.results.history.store import Store
from tasks.retries import is_passing


@pytest.mark.parametrize(
    ("url", "again"),
    [("postgresql://nobody@/none?host={folder}", True), ("sqlite:///{folder}/history.db", False)],
    ids=["no server", "no database"],
)
def test_a_history_is_tried_again_only_where_it_may_come_back(
    tmp_path: Path, url: str, again: bool
) -> None:
    (tmp_path / "history.db").write_text("not a database, " * 100)
    with pytest.raises(InputError) as failed, Store(url.format(folder=tmp_path)):
        pass
    assert is_passing(failed.value) is again
