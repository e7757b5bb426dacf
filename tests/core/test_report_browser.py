"""The report in a real browser: everything is drawn, nothing fails, the page does not overflow."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from report_kit import MIXED, make_run

from tests.conftest import missing_system_package

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=20000",
)
PROBE = """
<script>
const seen = { errors: [] };
addEventListener("error", (event) => seen.errors.push(event.message));
addEventListener("load", () => setTimeout(() => {
  seen.width = document.documentElement.scrollWidth;
  seen.window = innerWidth;
  const plots = [...document.querySelectorAll(".plot")];
  seen.plots = plots.length;
  seen.drawn = plots.filter((plot) => plot.querySelector(".main-svg")).length;
  document.body.dataset.seen = JSON.stringify(seen);
}, 8000));
</script>
"""


@pytest.fixture(scope="module", autouse=True)
def needs_a_browser() -> None:
    if BROWSER is None:
        missing_system_package("no Chromium is installed (Debian: apt-get install chromium)")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    make_run(folder, MIXED[:4], threads=(1,), rounds=4, frames=4)
    probed = folder / "probed.html"
    page = (folder / "report.html").read_text(encoding="utf-8")
    probed.write_text(page.replace("<head>", f"<head>{PROBE}", 1), encoding="utf-8")
    return probed


def browse(report: Path, profile: Path, *flags: str) -> str:
    command = [BROWSER or "", *FLAGS, f"--user-data-dir={profile}", *flags, report.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=True).stdout


def test_every_figure_is_drawn_and_a_narrow_page_does_not_overflow(
    report: Path, tmp_path: Path
) -> None:
    dom = browse(report, tmp_path, "--window-size=500,844", "--dump-dom")
    found = re.search(r'data-seen="([^"]*)"', dom)
    assert found
    seen: dict[str, Any] = json.loads(unescape(found.group(1)))
    assert seen["errors"] == []
    assert seen["drawn"] == seen["plots"] == 6
    assert seen["width"] <= seen["window"]


def test_it_prints(report: Path, tmp_path: Path) -> None:
    printed = tmp_path / "report.pdf"
    browse(report, tmp_path / "profile", f"--print-to-pdf={printed}")
    assert printed.read_bytes().startswith(b"%PDF-")
    assert printed.stat().st_size > 50_000
