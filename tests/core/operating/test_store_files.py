"""The store, on a folder and on a real server that speaks S3."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3_kit import BUCKET, CREDENTIALS, s3_server

from prunebench.common.errors import InputError, StoreError
from prunebench.operating.store.files import FileStore, Stored
from prunebench.operating.store.runs import fetch_run


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as server:
        yield server.address


@pytest.fixture(params=["file", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "file":
        return f"file://{tmp_path}/store"
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue("s3"))
    return f"s3://{BUCKET}/{tmp_path.name}"


def file_of(folder: Path, content: bytes) -> Path:
    path = folder / f"{len(list(folder.iterdir()))}.bin"
    path.write_bytes(content)
    return path


def test_what_is_put_is_got_and_put_once(url: str, tmp_path: Path) -> None:
    store = FileStore(url, tmp_path / "cache", 1)
    source = file_of(tmp_path, os.urandom(3 << 20))
    stored = store.put(source)
    names = sorted(store._fs.find(store._root))
    assert [name.rsplit("/", 1)[1] for name in names] == [stored.sha256]
    before = store._fs.modified(names[0])
    assert store.put(source) == stored
    assert store._fs.modified(names[0]) == before
    other = FileStore(url, tmp_path / "other cache", 1)
    other.get(stored, tmp_path / "got" / "a.bin")
    assert (tmp_path / "got" / "a.bin").read_bytes() == source.read_bytes()


def test_trying_it_leaves_no_file(url: str, tmp_path: Path) -> None:
    store = FileStore(url, tmp_path / "cache", 1)
    store.try_writing()
    assert store._fs.find(store._root) == []


def test_documents(url: str, tmp_path: Path) -> None:
    store = FileStore(url, tmp_path / "cache", 1)
    store.write_document("runs/a", {"b": [1]})
    store.write_document("runs/a", {"b": [2]})
    assert store.read_document("runs/a") == {"b": [2]}
    with pytest.raises(InputError, match="the store has no runs/b"):
        store.read_document("runs/b")


def test_a_damaged_or_missing_file_is_never_handed_out(url: str, tmp_path: Path) -> None:
    store = FileStore(url, tmp_path / "cache", 1)
    stored = store.put(file_of(tmp_path, b"content"))
    target = tmp_path / "got.bin"
    store.get(stored, target)
    (tmp_path / "cache" / stored.sha256).write_bytes(b"damaged")
    store.get(stored, target)
    assert target.read_bytes() == b"content"
    (tmp_path / "cache" / stored.sha256).unlink()
    store._fs.pipe_file(store._place_of(stored.sha256), b"damaged")
    target.unlink()
    with pytest.raises(StoreError, match="is damaged in"):
        store.get(stored, target)
    with pytest.raises(StoreError, match="does not have"):
        store.get(Stored(sha256="0" * 64, bytes=1), target)
    assert not target.exists()
    # Sent again, it is whole again: the size tells here, the content whoever takes it.
    store._fs.pipe_file(store._place_of(stored.sha256), b"cut")
    store.put(tmp_path / "0.bin")
    store.get(stored, target)


def test_what_arrives_with_other_content_gets_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FileStore(f"file://{tmp_path}/store", tmp_path / "cache", 1)
    put = store._fs.put_file

    def damaging(source: str, target: str) -> None:
        put(source, target)
        Path(target).write_bytes(b"other")

    monkeypatch.setattr(store._fs, "put_file", damaging)
    with pytest.raises(StoreError, match=r"arrived at .* with other content"):
        store.put(file_of(tmp_path, b"content"))
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []


def test_the_cache_keeps_within_its_limit(tmp_path: Path) -> None:
    store = FileStore(f"file://{tmp_path}/store", tmp_path / "cache", cache_gb=2500 / 1e9)
    stored = [store.put(file_of(tmp_path, bytes([i]) * 1000)) for i in range(4)]
    for index, one in enumerate([*stored[:2], stored[0], *stored[2:]]):
        store.get(one, tmp_path / f"got-{index}")
        time.sleep(0.02)  # The time of use orders them.
    kept = {path.name for path in (tmp_path / "cache").glob("[0-9a-f]*")}
    assert kept == {stored[2].sha256, stored[3].sha256}
    # What was handed out is not the cache's to drop.
    assert (tmp_path / "got-0").read_bytes() == bytes(1000)


def test_a_url_that_cannot_be_used_and_a_store_out_of_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="cannot be used as a store"):
        FileStore("nonsense://bucket", tmp_path, 1)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(OSError, match=r"does not answer|Connect"):
        FileStore(f"s3://{BUCKET}/x", tmp_path / "cache", 1).put(file_of(tmp_path, b"content"))
    with pytest.raises(OSError, match="does not answer"):
        FileStore(f"s3://{BUCKET}/x", tmp_path / "cache", 1).try_writing()


def test_a_run_that_is_not_there_is_told_beside_those_that_are(tmp_path: Path) -> None:
    store = FileStore(f"file://{tmp_path}/store", tmp_path / "cache", 1)
    with pytest.raises(InputError, match="the store has no run nosuch; `prunebench push` a run"):
        fetch_run("nosuch", store, tmp_path)
    for day in range(1, 8):
        store.write_document(f"runs/2026010{day}T000000-a", {})
    with pytest.raises(InputError) as told:
        fetch_run("20260109T000000-a", store, tmp_path)
    assert str(told.value) == (
        f"file://{tmp_path}/store: the store has no run 20260109T000000-a; choose among its last "
        "ones, 20260103T000000-a, 20260104T000000-a, 20260105T000000-a, 20260106T000000-a and "
        "20260107T000000-a."
    )
    with pytest.raises(InputError, match="it is not the name of a run"):
        fetch_run("../runs", store, tmp_path)
