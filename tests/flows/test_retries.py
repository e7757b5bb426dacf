"""What is tried again, and what is not."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import httpx
import pytest

from prunebench.common.errors import InputError, StepError, StoreError
from prunebench.operating.store.files import FileStore
from prunebench.results.history.store import Store
from tasks.retries import is_passing


@pytest.mark.parametrize(
    "code",
    [
        errno.ENOENT,
        errno.EACCES,
        errno.EPERM,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EROFS,
        errno.ENOSPC,
        errno.EDQUOT,
    ],
)
def test_a_file_that_stays_missing_is_not_waited_for(code: int) -> None:
    assert not is_passing(OSError(code, os.strerror(code)))


@pytest.mark.parametrize("code", [errno.ECONNREFUSED, errno.ETIMEDOUT, errno.EIO, errno.ESTALE])
def test_a_connection_or_a_disk_may_come_back(code: int) -> None:
    assert is_passing(OSError(code, os.strerror(code)))


def test_a_server_may_come_back() -> None:
    request = httpx.Request("GET", "http://127.0.0.1/api")
    assert is_passing(httpx.ConnectError("refused"))
    for status, passing in ((500, True), (503, True), (404, False), (409, False)):
        response = httpx.Response(status, request=request)
        error = httpx.HTTPStatusError("no", request=request, response=response)
        assert is_passing(error) is passing


def test_bad_input_and_a_failed_step_stay_as_they_are() -> None:
    for error in (InputError("wrong"), StepError("train", "it diverged"), ValueError("wrong")):
        assert not is_passing(error)


def test_a_store_is_waited_for_whatever_its_protocol_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FileStore(f"file://{tmp_path}/store", tmp_path / "cache", 1)
    path = tmp_path / "file.bin"
    path.write_bytes(b"content")
    stored = store.put(path)

    def refusing(code: int) -> OSError:
        def refuse(*given: object, **options: object) -> None:
            raise OSError(code, os.strerror(code), str(tmp_path))

        # Another content: what is there is not sent again.
        path.write_bytes(str(code).encode())
        for name in ("put_file", "makedirs"):
            monkeypatch.setattr(store._fs, name, refuse)
        with pytest.raises(OSError, match=str(tmp_path)) as raised:
            store.put(path)
        return raised.value

    for code in (errno.ENOENT, errno.EACCES, errno.EIO):
        assert is_passing(refusing(code))
    assert not is_passing(refusing(errno.ENOSPC))
    # What is wanted from it is not there: that does not come back.
    store._fs.rm_file(store._place_of(stored.sha256))
    with pytest.raises(StoreError, match="does not have") as raised:
        store.get(stored, tmp_path / "got.bin")
    assert not is_passing(raised.value)
    # A file of this host that is to be sent is missing.
    with pytest.raises(FileNotFoundError) as missing:
        store.put(tmp_path / "none.bin")
    assert not is_passing(missing.value)


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
