"""The report in a real browser, as people meet it: phone and desk, light and dark, paper, keys."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser_kit import chromium
from playwright.sync_api import Browser, Page
from report_kit import MIXED, make_run, many

from prunebench.common.errors import PrunebenchError
from prunebench.results.report.build import build_report
from prunebench.results.report.scatter import HEIGHT, LABEL_PX, LEGEND_PX, ROOMY
from prunebench.results.report.style import WIDTHS

FIGURES = 6
DRAWN_MS = 60_000
CROWD = 50
OPEN_MS = 2000
CLOSE = (
    *many(17),
    *(replace(MIXED[1], name=f"preserving-2x-{n}", ms=9.3 + 0.05 * n) for n in range(3)),
)
"""Twenty variants, some of which lie on each other."""

PHONE, DESK, A4 = 390, 1280, 718
"""Widths in CSS pixels; the last is a sheet of A4 within the page's margins."""

UNFOLD = "document.querySelectorAll('details').forEach(fold => { fold.open = true; })"

TOO_WIDE = (
    "[...document.querySelectorAll('.scroll, .plot')]"
    ".filter(node => node.scrollWidth > node.clientWidth)"
    ".map(node => node.getAttribute('aria-label'))"
)
"""What is cut off, or has to be scrolled."""


OVERLAPS = """(() => {
  const plot = document.getElementById("figure-accuracy-latency-1");
  const {l, t, w, h} = plot._fullLayout._size;
  const page = plot.getBoundingClientRect();
  const rects = (kind) => [...plot.querySelectorAll(kind)].map((node) => {
    const {left, top, right, bottom} = node.getBoundingClientRect();
    return {left: left - page.left, top: top - page.top, right: right - page.left,
      bottom: bottom - page.top, name: node.textContent};
  });
  const names = rects("text.annotation-text");
  const points = rects(".scatterlayer path.point");
  const touch = (a, b) =>
    a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  const outside = (a) =>
    a.left < l - 1 || a.right > l + w + 1 || a.top < t - 1 || a.bottom > t + h + 1;
  return {
    names: names.map((each) => each.name),
    points: points.length,
    over: names.flatMap((a, i) =>
      [...names.slice(i + 1), ...points].filter((b) => touch(a, b)).map((b) => [a.name, b.name])),
    outside: names.filter(outside).map((each) => each.name),
    sized: [w, h],
  };
})()"""
"""What the names in the scatter plot run into, as it is drawn."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    make_run(folder, MIXED[:4], threads=(1,), rounds=4, frames=4)
    return folder / "report.html"


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "named"
    make_run(folder, CLOSE, threads=(1,), rounds=4, frames=4)
    return folder / "report.html"


def opened(
    browser: Browser, report: Path, width: int, scheme: Literal["light", "dark"] = "light"
) -> Page:
    """The page, offline, with every figure drawn; no script failed and nothing was loaded."""
    context = browser.new_context(
        viewport={"width": width, "height": 844}, color_scheme=scheme, offline=True
    )
    page = context.new_page()
    met: list[str] = []
    page.on("pageerror", lambda error: met.append(str(error)))
    page.on("request", lambda request: met.append(request.url))
    page.goto(report.as_uri())
    page.evaluate(UNFOLD)
    # A figure is drawn when it comes near the window, or when the page has nothing else to do.
    page.wait_for_function(
        "[...document.querySelectorAll('.plot')].every(p => p.querySelector('.main-svg'))",
        timeout=DRAWN_MS,
    )
    assert [one for one in met if not one.startswith("data:")] == [report.as_uri()]
    return page


@pytest.mark.parametrize(("width", "scheme"), [(PHONE, "dark"), (DESK, "light")])
def test_it_can_be_read(
    browser: Browser, report: Path, width: int, scheme: Literal["light", "dark"]
) -> None:
    """Every figure is there, no page is wider than its window, and axe finds nothing serious."""
    page = opened(browser, report, width, scheme)
    assert page.locator(".plot").count() == FIGURES
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    if width == DESK:
        assert page.evaluate(TOO_WIDE) == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 24, 28)")
    found = Axe().run(page).response["violations"]
    assert [(one["id"], one["impact"]) for one in found] == []


def test_it_is_used_with_keys_alone(browser: Browser, report: Path) -> None:
    page = opened(browser, report, PHONE)
    page.keyboard.press("Tab")
    skip = page.locator(".skip")
    assert skip.evaluate("node => node === document.activeElement")
    assert (skip.bounding_box() or {"x": -1})["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#main"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('role')") == "region"
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.activeElement.scrollLeft > 0")


def test_the_first_screen_answers_and_the_rest_unfolds(browser: Browser, report: Path) -> None:
    """What to ship and the table are seen at once; the rest by a click, a key or a link."""
    page = browser.new_page(viewport={"width": DESK, "height": 900})
    page.goto(report.as_uri())
    for seen in (".lead", ".card", "table tbody tr:last-child"):
        box = page.locator(seen).first.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] < 900, seen
    folds = page.locator("details")
    count = folds.count()
    assert count > 8
    assert page.locator("details[open]").count() == 0
    assert page.evaluate("document.documentElement.scrollHeight") < 3500
    page.locator("#memory summary").focus()
    page.keyboard.press("Enter")
    assert page.locator("details[open]").count() == 1
    assert page.locator("#memory table").is_visible()
    page.evaluate("location.hash = '#training'")
    page.wait_for_function("document.querySelector('#training details').open")
    page.wait_for_function("document.querySelector('#figure-training .main-svg')")
    assert page.evaluate("document.getElementById('figure-training')._fullLayout.width") > 900
    page.locator(".tools button").click()
    assert page.locator("details[open]").count() == count
    page.locator(".tools button").click()
    assert page.locator("details[open]").count() == 0
    page.emulate_media(media="print")
    page.wait_for_function(f"document.querySelectorAll('details[open]').length === {count}")
    assert page.locator(".plot .main-svg").count() >= FIGURES
    page.emulate_media(media="screen")
    page.wait_for_function("document.querySelectorAll('details[open]').length === 0")
    page.context.close()


@pytest.mark.parametrize("scripts", [True, False])
def test_paper_shows_what_is_folded(browser: Browser, report: Path, scripts: bool) -> None:
    page = browser.new_page(java_script_enabled=scripts)
    page.goto(report.as_uri())
    page.emulate_media(media="print")
    if not scripts:
        assert page.locator("#settings td").last.is_visible()
    folded = browser.new_page().pdf()
    assert len(page.pdf(format="A4")) > 100_000 > len(folded)
    page.context.close()


def test_nothing_is_cut_off_on_paper(browser: Browser, report: Path, tmp_path: Path) -> None:
    page = opened(browser, report, A4)
    printed = tmp_path / "report.pdf"
    page.pdf(path=printed, format="A4")
    assert printed.read_bytes().startswith(b"%PDF-")
    assert printed.stat().st_size > 50_000
    page.emulate_media(media="print")
    assert page.evaluate(TOO_WIDE) == []


@pytest.mark.parametrize("width", [360, PHONE, 800, DESK])
def test_the_names_of_twenty_variants_cover_nothing(
    browser: Browser, named: Path, width: int
) -> None:
    """Each stands free and inside of the plot, which has the pixels that the places are for."""
    found = opened(browser, named, width).evaluate(OVERLAPS)
    assert sorted(found["names"]) == sorted(["20 FPS", *(maker.name for maker in CLOSE)])
    assert found["points"] == len(CLOSE)
    assert found["over"] == []
    assert found["outside"] == []
    height = HEIGHT + LABEL_PX * (len(CLOSE) - ROOMY)
    margin = next(px for least, px in LEGEND_PX if found["sized"][0] + 80 >= least)
    assert found["sized"] == [max(w for w in WIDTHS if w <= width - 28) - 80, height - margin - 56]


def test_fifty_variants_open_at_once(browser: Browser, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    make_run(folder, many(CROWD), threads=(1,), rounds=4, frames=4)
    page = opened(browser, folder / "report.html", DESK)
    painted, loaded = page.evaluate(
        "[performance.getEntriesByName('first-contentful-paint')[0].startTime,"
        " performance.getEntriesByType('navigation')[0].loadEventEnd]"
    )
    assert 0 < painted < OPEN_MS
    assert 0 < loaded < OPEN_MS


def test_each_figure_becomes_a_file(browser: Browser, report: Path) -> None:
    build_report(report.parent, figures=True)
    files = {path.name: path.read_bytes() for path in (report.parent / "figures").iterdir()}
    assert len(files) == 2 * FIGURES
    for name, content in files.items():
        assert content.startswith(b"<svg" if name.endswith(".svg") else b"\x89PNG\r\n"), name
    assert b"baseline" in files["figure-accuracy-latency-1.svg"]


def test_a_browser_that_fails_is_one_sentence(
    report: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "chromium"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(PrunebenchError, match=r"chromium did not draw.*immediately"):
        build_report(report.parent, figures=True)
