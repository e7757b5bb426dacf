"""The report in a real browser: everything is drawn, nothing fails, the page does not overflow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_kit import chromium
from playwright.sync_api import Browser, Page
from report_kit import MIXED, make_run

FIGURES = 6
DRAWN_MS = 60_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    make_run(folder, MIXED[:4], threads=(1,), rounds=4, frames=4)
    return folder / "report.html"


def opened(browser: Browser, report: Path, width: int) -> tuple[Page, list[str]]:
    """The page with every figure drawn, and the errors its script met."""
    page = browser.new_page(viewport={"width": width, "height": 844})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(report.as_uri())
    # A figure is drawn when it comes near the window, or when the page has nothing else to do.
    page.wait_for_function(
        "count => document.querySelectorAll('.plot .main-svg').length >= count"
        " && [...document.querySelectorAll('.plot')].every(p => p.querySelector('.main-svg'))",
        arg=FIGURES,
        timeout=DRAWN_MS,
    )
    return page, errors


def test_every_figure_is_drawn_and_a_narrow_page_does_not_overflow(
    browser: Browser, report: Path
) -> None:
    page, errors = opened(browser, report, 390)
    assert errors == []
    assert page.locator(".plot").count() == FIGURES
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_it_prints(browser: Browser, report: Path, tmp_path: Path) -> None:
    printed = tmp_path / "report.pdf"
    page, _ = opened(browser, report, 1280)
    page.pdf(path=printed)
    assert printed.read_bytes().startswith(b"%PDF-")
    assert printed.stat().st_size > 50_000
