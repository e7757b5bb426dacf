"""Each figure of a report as an SVG and a PNG file, drawn by an installed Chromium or Chrome.

Plotly draws in a browser only. A local one does so offline and needs no further package.
"""

from __future__ import annotations

import base64
import html
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import unquote

from prunebench.errors import InputError, PrunebenchError
from prunebench.files import write_atomically
from prunebench.report.document import Document, Figure
from prunebench.report.render import figures_page

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
    # The page is ours and loads nothing; root, as in a container, has no sandbox.
    "--no-sandbox",
)
PATIENCE_MS = 120_000
"""Time of the page, not of the clock: the browser ends as soon as everything is drawn."""

TIMEOUT_S = 300
DRAWN = re.compile(r'<pre id="drawn">(.*?)</pre>', re.DOTALL)


def write_figures(document: Document, folder: Path) -> tuple[Path, ...]:
    """Draw every figure of a document as ``<id>.svg`` and ``<id>.png`` (twice the pixels).

    Args:
        document: The report.
        folder: Where the files go; made where it is missing.

    Returns:
        The files, in the report's order.

    Raises:
        InputError: There is no Chromium or Chrome on this machine.
        PrunebenchError: The browser did not draw them.
    """
    figures = [b for section in document.sections for b in section.blocks if isinstance(b, Figure)]
    if not figures:
        return ()
    drawn = _drawn_by(_browser(), figures_page(document, figures))
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for figure in figures:
        for suffix, url in drawn[figure.id].items():
            path = folder / f"{figure.id}.{suffix}"
            write_atomically(path, _content(url))
            files.append(path)
    return tuple(files)


def installed_browser() -> str | None:
    """Path of the Chromium or Chrome of this host, ``None`` where there is none."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def _browser() -> str:
    found = installed_browser()
    if found is None:
        raise InputError(
            "drawing figures into files needs Chromium or Chrome, and none is installed here",
            fix="install it (Debian: apt-get install chromium), or save a figure with the camera "
            "button that report.html shows above it",
        )
    return found


def _drawn_by(browser: str, page: str) -> dict[str, dict[str, str]]:
    """Figure to format to data URL, as the page wrote them into itself."""
    with tempfile.TemporaryDirectory(prefix="prunebench-figures-") as scratch:
        path = Path(scratch) / "figures.html"
        path.write_text(page, encoding="utf-8")
        command = [
            browser,
            *FLAGS,
            f"--user-data-dir={scratch}/profile",
            f"--virtual-time-budget={PATIENCE_MS}",
            "--dump-dom",
            path.as_uri(),
        ]
        try:
            ended = subprocess.run(
                command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise PrunebenchError(f"{browser} did not draw within {TIMEOUT_S} s") from error
    found = DRAWN.search(ended.stdout)
    if found is None or not found.group(1):
        last = ended.stderr.strip().splitlines()[-1:] or ["it printed nothing"]
        raise PrunebenchError(f"{browser} did not draw the figures: {last[0]}")
    drawn: dict[str, dict[str, str]] = json.loads(html.unescape(found.group(1)))
    return drawn


def _content(url: str) -> bytes:
    """What a data URL holds: Plotly escapes SVG and codes PNG as base64."""
    head, _, body = url.partition(",")
    return base64.b64decode(body) if head.endswith(";base64") else unquote(body).encode()
