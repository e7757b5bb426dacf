"""Files that are never half written, and output folders checked before work starts."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from prunebench.common.errors import OutputError, PrunebenchError

NEEDED_BYTES = 200 * 10**6  # Free before a run: about twenty checkpoints and ONNX files (nano).
FULL_BYTES = 10**6  # What is left of a disk on which no checkpoint could be written.

FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(2**20), b""):
            digest.update(block)
    return digest.hexdigest()


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write ``content`` under a temporary name in the same folder, then rename it to ``path``."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        partial.chmod(0o644)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def place(source: Path, target: Path) -> None:
    """Put the content of ``source`` at ``target``: a hard link where possible, else a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.placing")
    partial.unlink(missing_ok=True)
    try:
        os.link(source, partial)
    except OSError:
        try:
            shutil.copy2(source, partial)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    partial.replace(target)
    # Renaming one hard link to another of the same file does nothing.
    partial.unlink(missing_ok=True)


def check_output_folder(folder: Path, *, needed_bytes: int = NEEDED_BYTES) -> None:
    """Prove that ``folder`` can be written, or made, without a trace; OutputError where not."""
    try:
        there = _nearest(folder)
        free = shutil.disk_usage(there).free
        if free < needed_bytes:
            raise OutputError(
                f"only {free / 10**6:.0f} MB are free, {needed_bytes / 10**6:.0f} MB are needed",
                where=folder,
                fix="free some space or choose another folder with --out",
            )
        with tempfile.TemporaryFile(dir=there) as probe:
            probe.write(b"prunebench")
            probe.flush()
    except NotADirectoryError as error:
        raise OutputError(
            "the output path is a file", where=folder, fix="choose a folder with --out"
        ) from error
    except OSError as error:
        why = {
            errno.EROFS: "the file system is read-only",
            errno.EACCES: "the folder is not writable",
            errno.ENOSPC: "the disk is full",
        }.get(error.errno or 0, error.strerror or str(error))
        raise OutputError(why, where=folder, fix="choose another folder with --out") from error


def _nearest(folder: Path) -> Path:
    """The folder itself or the first above it that is there, as is a link that leads nowhere."""
    path = folder.absolute()
    return next(known for known in (path, *path.parents) if known.is_symlink() or known.exists())


@contextlib.contextmanager
def taken_back(folder: Path, *, kept_after_s: float) -> Iterator[None]:
    """Where the block is refused, take back ``folder`` if the block made it, and its parents.

    What took longer to make is kept: it is wanted again as soon as what was refused is corrected.
    So is what another run, which has begun beside it meanwhile, may be using.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    started = time.monotonic()
    try:
        yield
    except PrunebenchError:
        quick = folder in made and time.monotonic() - started < kept_after_s
        if quick and folder.is_dir() and [*folder.parent.iterdir()] == [folder]:
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError):  # Others may have put something there.
                for parent in made[1:]:
                    parent.rmdir()
        raise


def check_output_file(file: Path, option: str) -> None:
    """Prove that ``file`` can be written, without a trace; OutputError where not."""
    obstacle = None
    try:
        parent = _nearest(file.parent)
        obstacle = "it is a folder" if file.is_dir() else None
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        obstacle = f"it cannot be written ({error.strerror})"
    if obstacle is not None:
        raise OutputError(obstacle, where=file, fix=f"choose another file with {option}")


def full_disk(folder: Path, error: Exception | None = None) -> str | None:
    """Why a write failed if the disk of ``folder`` is full, by ``error`` or what is left."""
    free = shutil.disk_usage(folder).free
    refused = isinstance(error, OSError) and error.errno in FULL_DISK
    if free >= FULL_BYTES and not refused:
        return None
    return f"the disk of {folder} is full ({free} bytes are left); free some space and run again"
