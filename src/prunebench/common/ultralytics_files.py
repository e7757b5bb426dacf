"""Ultralytics opens the file it is given: under its own name, locally, and running no code of it.

Its helpers strip quotes from a path, rename ``yolov5n.pt`` to ``yolov5nu.pt``, cut names at a
question mark, and ask the network for what is not found. So a path that they would change is given
to them by a link of a plain name.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

OFFLINE = {"YOLO_OFFLINE": "true", "ULTRALYTICS_SAFE_LOAD": "true"}
"""Environment in which Ultralytics looks for no network, and unpickles its own classes alone."""

PLAIN = re.compile(r"(?!.*yolov[35])[\w./+-]+")


def import_offline() -> None:
    """Import Ultralytics without the look for a network that it takes at that moment."""
    given = {name: os.environ.get(name) for name in OFFLINE}
    os.environ.update(OFFLINE)
    try:
        importlib.import_module("ultralytics.utils")
    finally:
        # A data set that is asked for by its name is fetched all the same.
        for name, value in given.items():
            del os.environ[name]
            if value is not None:
                os.environ[name] = value


@contextlib.contextmanager
def untold() -> Iterator[None]:
    """Keep to itself what Ultralytics tells of a network it builds, some of it though not asked."""
    from ultralytics.utils import LOGGER

    level = LOGGER.level
    LOGGER.setLevel(logging.WARNING)
    try:
        yield
    finally:
        LOGGER.setLevel(level)


@contextlib.contextmanager
def plainly_named(*paths: Path) -> Iterator[tuple[Path, ...]]:
    """Paths that Ultralytics' helpers leave as they are, of files and folders that exist.

    A link to a file is called ``model.pt``, one to a folder as the folder.
    """
    # A folder for temporary files may be named oddly too.
    base = tempfile.gettempdir() if PLAIN.fullmatch(tempfile.gettempdir()) else "/tmp"
    with contextlib.ExitStack() as stack:
        plain = []
        for path in paths:
            if not PLAIN.fullmatch(str(path)):
                folder = stack.enter_context(tempfile.TemporaryDirectory(dir=base))
                link = Path(folder, path.name if path.is_dir() else "model.pt")
                link.symlink_to(path.absolute())
                path = link
            plain.append(path)
        yield tuple(plain)
