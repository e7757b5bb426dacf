"""Each figure of a report as an SVG and a PNG file, drawn by an installed Chromium or Chrome.

Plotly draws in a browser only; Kaleido drives a local one and waits for each figure.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prunebench.common.errors import InputError, PrunebenchError
from prunebench.common.files import write_atomically
from prunebench.results.report.document import Document, Figure
from prunebench.results.report.style import on_paper

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
TIMEOUT_S = 120.0
"""For one figure, on a host that has other things to do."""

NOBODY = "http://127.0.0.1:9"
"""Proxy of the browser: what we draw loads nothing, and its own services shall reach nobody."""

WIDTH = 1000
SCALES = {"svg": 1, "png": 2}
"""Formats, and the pixels of each to one of the figure's."""


def write_figures(document: Document, folder: Path) -> None:
    """Draw each figure into ``folder`` as ``<id>.svg`` and ``<id>.png`` (twice the pixels).

    Raises:
        InputError: There is no Chromium or Chrome on this machine.
        PrunebenchError: The browser did not draw them.
    """
    figures = [b for section in document.sections for b in section.blocks if isinstance(b, Figure)]
    if not figures:
        return
    browser = require_browser()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="prunebench-figures-") as scratch:
        drawings = [_drawing(f, kind, Path(scratch)) for f in figures for kind in SCALES]
        _draw(drawings, browser)
        for drawing in drawings:
            drawn: Path = drawing["path"]
            write_atomically(folder / drawn.name, drawn.read_bytes())


def require_browser() -> str:
    """Path of the browser that draws; InputError where there is none."""
    if (browser := installed_browser()) is None:
        raise InputError(
            "drawing figures into files needs Chromium or Chrome, and none is installed here",
            fix="install it (Debian: apt-get install chromium), or save a figure with the camera "
            "button that report.html shows above it",
        )
    return browser


def installed_browser() -> str | None:
    """Path of the Chromium or Chrome of this host, ``None`` where there is none."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def _drawing(figure: Figure, kind: str, folder: Path) -> dict[str, Any]:
    size = {"width": WIDTH, "height": figure.height, "scale": SCALES[kind]}
    return {
        "fig": on_paper(figure.spec, WIDTH),
        "path": folder / f"{figure.id}.{kind}",
        "opts": size,
    }


def _draw(drawings: Sequence[dict[str, Any]], browser: str) -> None:
    import kaleido
    from choreographer.errors import DevtoolsProtocolError
    from kaleido.errors import KaleidoError

    # MathJax would be loaded from the network, and no label has formulas.
    options = {"path": browser, "timeout": TIMEOUT_S, "mathjax": False, "proxy_server": NOBODY}
    try:
        kaleido.write_fig_from_object_sync(drawings, cancel_on_error=True, kopts=options)
    except (KaleidoError, DevtoolsProtocolError, RuntimeError, OSError) as error:
        # Some of their errors have several sentences, and the first says it.
        said = str(error.args[0]) if error.args else type(error).__name__
        raise PrunebenchError(f"{browser} did not draw the figures: {said}") from error
