"""A kit or a smaller job: what it holds, and the one file that holds it."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from prunebench.measuring.agent import FILES, MANIFEST
from prunebench.measuring.latency.sentinel import write_sentinel
from prunebench.measuring.remote.modules import ROOT, carried_modules

FORMAT = 2
"""What a kit and its results are made of; another one is not read."""

FRAMES = "frames"

START = """\
import importlib.util
import sys

if sys.version_info < (3, 10) or sys.maxsize < 2**32:
    sys.stderr.write("Not measured: a 64-bit Python of 3.10 or newer is needed, this is not.\\n")
    sys.exit(2)
missing = [n for n in ("numpy", "onnxruntime") if importlib.util.find_spec(n) is None]
if missing:
    names = " ".join(missing)
    sys.stderr.write("Not measured: install first: python3 -m pip install " + names + "\\n")
    sys.exit(2)
from prunebench.measuring.agent import main

sys.exit(main())
"""


class Content(NamedTuple):
    """What a kit holds: its manifest, and the content of its files by their SHA-256."""

    manifest: dict[str, Any]
    files: dict[str, Path | bytes]

    @property
    def needs(self) -> tuple[str, ...]:
        """What is needed there beside onnxruntime: for whole frames, and the other runtimes."""
        frames = (FRAMES,) if self.manifest.get("inputs") else ()
        runtimes = self.manifest.get("protocol", {}).get("runtimes", {}).values()
        # Settings of one library are names of their own.
        return frames + tuple(sorted({one["name"].split("-")[0] for one in runtimes if one}))


def pack(content: Content, out: Path, files: Mapping[str, Path | bytes]) -> None:
    """Write a kit with these of its files under a temporary name, then rename it."""
    handle, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.")
    partial = Path(name)
    try:
        with (
            os.fdopen(handle, "wb") as stream,
            zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            archive.writestr("__main__.py", START)
            archive.writestr(MANIFEST, json.dumps(content.manifest, indent=1))
            for path in carried_modules().values():
                archive.write(path, f"prunebench/{path.relative_to(ROOT).as_posix()}")
            for sha256, source in files.items():
                found = source if isinstance(source, bytes) else source.read_bytes()
                archive.writestr(f"{FILES}/{sha256}", found)
        partial.chmod(0o755)
        partial.replace(out)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def keep(content: bytes, files: dict[str, Path | bytes]) -> str:
    """Put a file among those of a kit; gives its SHA-256."""
    sha256 = hashlib.sha256(content).hexdigest()
    files[sha256] = content
    return sha256


def keep_sentinel(files: dict[str, Path | bytes]) -> str:
    """Put the reference model among the files of a kit; gives its SHA-256."""
    with tempfile.TemporaryDirectory() as work:
        write_sentinel(Path(work) / "sentinel.onnx")
        return keep((Path(work) / "sentinel.onnx").read_bytes(), files)
