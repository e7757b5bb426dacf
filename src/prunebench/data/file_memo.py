"""What is known of files that were read before, so that an unchanged file is not read again.

Of an image that is also whether it can be decoded; images are read by all cores.

A file is unchanged while its path, size, modification time and inode are. One that was modified
shortly before it was read is read again next time, as Git does: a clock of files is coarse, and
another change within its tick would not show.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterable, Iterator
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, Final, NamedTuple

from prunebench.common.cores import usable_cores
from prunebench.common.errors import DatasetError
from prunebench.common.files import write_atomically
from prunebench.data.images import decoding_quietly, flaw_of
from prunebench.steps.events import counting

VERSION: Final = 2  # Raise it with every change of what an image or a label file may be
UNSEEN: Final = "-"  # A file that was not looked at as an image
TICK_NS: Final = 2 * 10**9  # coarsest clock of a file system in use: FAT's, in nanoseconds


class _Seen(NamedTuple):
    """One look at a file: bytes, nanoseconds, and both with the inode as text."""

    size: int
    mtime_ns: int
    state: str


class FileMemo:
    """One look at many files: what is read now, and what is remembered of the last look.

    Files are named by absolute paths, as text: there may be hundreds of thousands. It is kept in
    ``path``, if given; a damaged one counts as absent. ``labels`` maps the digest of a label file
    to its number of objects, its highest class id and whether it holds polygons.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._steady_before = time.time_ns() - TICK_NS
        remembered = {} if path is None else _read(path)
        self._before: dict[str, str] = remembered.get("files", {})
        self.labels: dict[str, list[int]] = remembered.get("labels", {})
        self._known_labels = len(self.labels)
        self._seen: dict[str, _Seen] = {}
        self._digests: dict[str, str] = {}
        self._flaws: dict[str, str] = {}
        self._read_one = False

    def size(self, file: str) -> int | None:
        """Size of a file in bytes, ``None`` where there is none."""
        seen = self._look(file)
        return None if seen is None else seen.size

    def digest(self, file: str) -> str | None:
        """SHA-256 of a file's content in hexadecimal, ``None`` where there is none.

        Raises:
            DatasetError: It cannot be read.
        """
        known = self._digests.get(file)
        if known is None and (seen := self._look(file)) is not None:
            known, _ = self._remembered(file, seen)
            if not known:
                known = _digest(file)
                self._read_one = True
            self._digests[file] = known
        return known

    def flaws(self, images: Iterable[str], *, soon: bool = False) -> dict[str, str]:
        """Why images cannot be used, by file; those that can be are left out.

        ``soon``: where some are known without reading any, those alone.
        """
        found, unknown = {}, []
        for image in images:
            seen = self._look(image)
            if not seen or not seen.size:
                found[image] = "is empty" if seen else "does not exist"
                continue
            digest, flaw = self._remembered(image, seen)
            if image in self._flaws:
                digest, flaw = self._digests[image], self._flaws[image]
            if flaw == UNSEEN:
                unknown.append(image)
            else:
                self._digests[image], self._flaws[image] = digest, flaw
                if flaw:
                    found[image] = flaw
        if found and soon:
            return found
        with decoding_quietly(), ThreadPool(usable_cores()) as pool:
            looked_at = zip(unknown, pool.imap(_look_at, unknown, chunksize=16), strict=True)
            for image, (digest, flaw) in counting(looked_at, len(unknown), "images"):
                if digest:
                    self._digests[image], self._flaws[image] = digest, flaw
                    self._read_one = True
                if flaw:
                    found[image] = flaw
        return found

    def save(self) -> None:
        """Remember what was read; a folder that cannot be written is no error."""
        learnt = self._read_one or len(self.labels) > self._known_labels
        if self._path is None or not learnt:
            return
        files = {
            file: f"{self._seen[file].state} {digest} {self._flaws.get(file, UNSEEN)}"
            for file, digest in self._digests.items()
            if self._seen[file].mtime_ns < self._steady_before
        }
        if not files:
            return
        here = set(self._digests.values())
        labels = {digest: facts for digest, facts in self.labels.items() if digest in here}
        body = json.dumps({"files": files, "labels": labels}).encode()
        with contextlib.suppress(OSError):
            write_atomically(self._path, _checksum(body) + b"\n" + body)

    def _remembered(self, file: str, seen: _Seen) -> tuple[str, str]:
        """Digest and flaw of a file that has not changed since, else nothing and ``UNSEEN``."""
        before = self._before.get(file, "")
        if not before.startswith(f"{seen.state} "):
            return "", UNSEEN
        digest, _, flaw = before[len(seen.state) + 1 :].partition(" ")
        return digest, flaw

    def _look(self, file: str) -> _Seen | None:
        if file not in self._seen:
            try:
                status = os.stat(file)  # noqa: PTH116 - a path object costs more than the call
            except (OSError, ValueError):  # nor can be: too long a name, a circle of links
                return None
            if not stat.S_ISREG(status.st_mode):
                return None
            size, mtime_ns = status.st_size, status.st_mtime_ns
            self._seen[file] = _Seen(size, mtime_ns, f"{size} {mtime_ns} {status.st_ino}")
        return self._seen[file]


@contextlib.contextmanager
def remembering(data_yaml: Path, cache_dir: Path) -> Iterator[FileMemo]:
    """The memo of a dataset's files, kept in ``cache_dir``, saved however the block ends."""
    name = hashlib.sha256(os.fsencode(data_yaml.absolute())).hexdigest()[:16]
    memo = FileMemo(cache_dir / f".files-{name}.json")
    try:
        yield memo
    finally:
        memo.save()


def _look_at(image: str) -> tuple[str, str]:
    """Digest of an image file, "" where it cannot be read, and its flaw, "" where it has none."""
    try:
        content = _content(image)
    except OSError as error:
        return "", f"cannot be read ({error.strerror})"
    return hashlib.sha256(content).hexdigest(), flaw_of(content, image) or ""


def _content(file: str) -> bytes:
    # Half the time of a path object's: there may be hundreds of thousands.
    with open(file, "rb", buffering=0) as stream:  # noqa: PTH123
        return stream.read()


def _digest(file: str) -> str:
    try:
        return hashlib.sha256(_content(file)).hexdigest()
    except OSError as error:
        raise DatasetError(
            f"the file cannot be read ({error.strerror})", where=file, fix="check its permissions"
        ) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        checksum, _, body = path.read_bytes().partition(b"\n")
    except OSError:
        return {}
    remembered: dict[str, Any] = json.loads(body) if checksum == _checksum(body) else {}
    return remembered


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(b"%d %b" % (VERSION, body)).hexdigest().encode()
