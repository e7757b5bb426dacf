"""Files that travel between hosts: a store any fsspec URL names, content-addressed, with a cache.

A file lies in the store under its SHA-256, so that it is uploaded once and can be verified by
whoever takes it. What a name means is said by small JSON documents beside the files. Neither is
ever seen half written: an upload gets its name when what arrived has been read back.
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

from prunebench.common.errors import InputError, StoreError
from prunebench.common.files import place
from prunebench.common.records import Record, sha256_of

CHUNK = 1 << 20


class Stored(Record):
    """A file in the store.

    Attributes:
        sha256: Digest of its content, and so its name.
        bytes: Its size.
    """

    sha256: str
    bytes: int


class FileStore:
    """A folder of files by their content, on anything fsspec reaches.

    Args:
        url: ``file:///shared/prunebench``, ``s3://bucket/prefix`` or another fsspec URL.
        cache: Local folder that files are kept in once they were fetched.
        cache_gb: What the cache may hold, in 10^9 bytes; the files used longest ago go first.

    Raises:
        InputError: The URL cannot be used, or its protocol needs a package that is not installed.
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

    def put(self, path: Path) -> Stored:
        """Upload a file unless it is there, and verify what arrived.

        Raises:
            StoreError: What arrived is not what was sent.
            OSError: The store is out of reach.
        """
        stored = Stored(sha256=sha256_of(path), bytes=path.stat().st_size)
        target = self._place_of(stored.sha256)
        with self._reaching():
            if not self.has(stored):
                self._upload(path, target, stored.sha256)
        return stored

    def has(self, stored: Stored) -> bool:
        """Whether a file is there, by its name and size.

        Raises:
            OSError: The store is out of reach.
        """
        target = self._place_of(stored.sha256)
        with self._reaching():
            return bool(self._fs.exists(target) and self._fs.size(target) == stored.bytes)

    def get(self, stored: Stored, target: Path) -> None:
        """Put a file of the store at ``target``, from the cache where it is there and intact.

        Raises:
            StoreError: The store does not have it, or has it damaged.
            OSError: The store is out of reach.
        """
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
        """Keep JSON values under a name below ``documents/``.

        Raises:
            OSError: The store is out of reach.
        """
        data = json.dumps(value, indent=2).encode()
        with tempfile.NamedTemporaryFile() as file, self._reaching():
            file.write(data)
            file.flush()
            digest = hashlib.sha256(data).hexdigest()
            self._upload(Path(file.name), self._document(name), digest)

    def read_document(self, name: str) -> Any:
        """The JSON values kept under a name.

        Raises:
            InputError: There is no such document.
            OSError: The store is out of reach.
        """
        try:
            with self._reaching():
                return json.loads(self._fs.cat_file(self._document(name)))
        except FileNotFoundError as error:
            raise InputError(f"the store has no {name}", where=self.url) from error

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
                self._fs.get_file(self._place_of(stored.sha256), str(partial))
            if sha256_of(partial) != stored.sha256:
                raise StoreError("fetch", f"{stored.sha256} is damaged in {self.url}")
            partial.replace(cached)
        except FileNotFoundError as error:
            raise StoreError("fetch", f"{self.url} does not have {stored.sha256}") from error
        finally:
            partial.unlink(missing_ok=True)

    def _evict(self, keep: str) -> None:
        files = []
        for path in self._cache.glob("[0-9a-f]*"):
            files.append((path.stat().st_mtime, path.stat().st_size, path))
        held = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if held <= self.cache_gb * 1e9:
                return
            if path.name != keep:
                path.unlink()
                held -= size

    def _digest(self, path: str) -> str:
        digest = hashlib.sha256()
        with self._fs.open(path, "rb") as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
        return digest.hexdigest()

    def _place_of(self, sha256: str) -> str:
        return f"{self._root}/files/{sha256[:2]}/{sha256}"

    def _document(self, name: str) -> str:
        return f"{self._root}/documents/{name}.json"

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        """Turn what a protocol raises of its own into ``OSError``, which is worth another try."""
        try:
            yield
        except (OSError, StoreError):
            raise
        except Exception as error:  # every protocol has errors of its own
            raise OSError(f"the store {self.url} does not answer ({error})") from error
