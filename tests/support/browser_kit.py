"""Debian's Chromium, really started, for the tests that look at a page as a person would."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

from prunebench.results.report.figure_files import installed_browser
from tests.conftest import missing_system_package

# A container has no sandbox of its own for root, and nothing here may reach for the network.
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser; without one the test is skipped, or fails where CI has installed it."""
    program = installed_browser()
    if program is None:
        missing_system_package("no Chromium is installed (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield browser
        browser.close()
