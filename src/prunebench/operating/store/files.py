"""Files that travel between hosts: a store any fsspec URL names, content-addressed, with a cache.

A file lies there under its SHA-256: uploaded once, verified by whoever takes it. What a name means
is said by small JSON documents. An upload gets its name when what arrived has been read back.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
from filelock import FileLock

from prunebench.common.errors import InputError, PrunebenchError, StoreError
from prunebench.common.files import FULL_DISK, place
from prunebench.common.records import Record, sha256_of


class Stored(Record):
    """A file in the store, named by the digest of its content."""

    sha256: str
    bytes: int


class FileStore:
    """A folder of files by their content, on anything fsspec reaches.

    Every method, and so what uses it, raises ``OSError`` where the store is out of reach, and
    ``StoreError`` where a file is missing there, or damaged.

    Args:
        url: ``file:///shared/prunebench``, ``s3://bucket/prefix`` or another fsspec URL.
        cache: Local folder that files are kept in once they were fetched.
        cache_gb: What the cache may hold, in 10^9 bytes; the files used longest ago go first.
    """

    def __init__(self, url: str, cache: Path, cache_gb: float) -> None:
        try:
            # Neither listings nor the answer that a file is missing may be remembered.
            self._fs, root = fsspec.url_to_fs(
                url, use_listings_cache=False, skip_instance_cache=True
            )
        except (ValueError, ImportError) as error:
            raise InputError(
                f"it cannot be used as a store ({error})",
                where=url,
                fix="give file:///folder or s3://bucket/prefix (pip install prunebench[s3])",
            ) from error
        self._root = root.rstrip("/")
        self.url = url
        self._cache = cache
        self.cache_gb = cache_gb

    def try_writing(self) -> None:
        """Write a small file, read it and remove it."""
        probe = f"{self._root}/incoming/{uuid.uuid4().hex}"
        with self._reaching():
            self._fs.makedirs(self._fs._parent(probe), exist_ok=True)
            self._fs.pipe_file(probe, b"prunebench")
            self._fs.cat_file(probe)
            self._fs.rm_file(probe)

    def put(self, path: Path) -> Stored:
        """Upload a file unless it is there, and verify what arrived."""
        stored = Stored(sha256=sha256_of(path), bytes=path.stat().st_size)
        with self._reaching():
            if not self.has(stored):
                self._upload(path, self._place_of(stored.sha256), stored.sha256)
        return stored

    def has(self, stored: Stored) -> bool:
        """Whether a file is there, by its name and size."""
        target = self._place_of(stored.sha256)
        with self._reaching():
            return bool(self._fs.exists(target) and self._fs.size(target) == stored.bytes)

    def get(self, stored: Stored, target: Path) -> None:
        """Put a file of the store at ``target``, from the cache where it is there and intact."""
        cached = self._cache / stored.sha256
        self._cache.mkdir(parents=True, exist_ok=True)
        with FileLock(self._cache / ".lock"):
            if not cached.is_file() or sha256_of(cached) != stored.sha256:
                self._download(stored, cached)
            os.utime(cached)
            # A link of its own: the cache may drop the file at any time.
            place(cached, target)
            self._evict(keep=stored.sha256)

    def write_document(self, name: str, value: Any) -> None:
        """Keep JSON values under a name below ``documents/``."""
        data = json.dumps(value, indent=2).encode()
        with tempfile.NamedTemporaryFile() as file, self._reaching():
            file.write(data)
            file.flush()
            digest = hashlib.sha256(data).hexdigest()
            self._upload(Path(file.name), self._document(name), digest)

    def read_document(self, name: str) -> Any:
        """The JSON values kept under a name; ``InputError`` where there are none."""
        with self._reaching():
            try:
                return json.loads(self._fs.cat_file(self._document(name)))
            except FileNotFoundError as error:
                raise InputError(f"the store has no {name}", where=self.url) from error

    def documents(self, folder: str) -> list[str]:
        """Names of the documents below ``folder``, without it."""
        with self._reaching():
            try:
                paths = self._fs.ls(f"{self._root}/documents/{folder}", detail=False)
            except FileNotFoundError:
                return []
        return sorted(path.rpartition("/")[2].removesuffix(".json") for path in paths)

    def _upload(self, path: Path, target: str, sha256: str) -> None:
        partial = f"{self._root}/incoming/{uuid.uuid4().hex}"
        self._fs.makedirs(self._fs._parent(partial), exist_ok=True)
        try:
            self._fs.put_file(str(path), partial)
            arrived = self._digest(partial)
            if arrived != sha256:
                raise StoreError("upload", f"{path.name} arrived at {self.url} with other content")
            self._fs.makedirs(self._fs._parent(target), exist_ok=True)
            self._fs.mv(partial, target)
        except BaseException:
            with contextlib.suppress(Exception):
                self._fs.rm_file(partial)
            raise

    def _download(self, stored: Stored, cached: Path) -> None:
        partial = cached.with_name(f".{stored.sha256}.partial")
        try:
            with self._reaching():
                try:
                    self._fs.get_file(self._place_of(stored.sha256), str(partial))
                except FileNotFoundError as error:
                    reason = f"{self.url} does not have {stored.sha256}"
                    raise StoreError("fetch", reason) from error
            if sha256_of(partial) != stored.sha256:
                raise StoreError("fetch", f"{stored.sha256} is damaged in {self.url}")
            partial.replace(cached)
        finally:
            partial.unlink(missing_ok=True)

    def _evict(self, keep: str) -> None:
        files = sorted(self._cache.glob("[0-9a-f]*"), key=lambda path: path.stat().st_mtime)
        held = sum(path.stat().st_size for path in files)
        for path in files:
            if held <= self.cache_gb * 1e9:
                return
            if path.name != keep:
                held -= path.stat().st_size
                path.unlink()

    def _digest(self, path: str) -> str:
        with self._fs.open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def _place_of(self, sha256: str) -> str:
        return f"{self._root}/files/{sha256[:2]}/{sha256}"

    def _document(self, name: str) -> str:
        return f"{self._root}/documents/{name}.json"

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        """Turn whatever a protocol raises, but a full disk, into an ``OSError`` without a number.

        That is worth another try: what is missing or locked now may be there with the store.
        """
        try:
            yield
        except PrunebenchError:
            raise
        except Exception as error:  # every protocol has errors of its own
            if isinstance(error, OSError) and error.errno in FULL_DISK:
                raise
            raise OSError(f"the store {self.url} does not answer ({error})") from error
