"""The card beside every model: metadata a hub reads, figures of the ranking, names never markup."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt
from report_kit import CLASSES, MIXED, STOLEN, make_run

from prunebench.results.outcome import read_outcome
from prunebench.results.report.numbers import with_interval


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    make_run(folder, MIXED, threads=(1,), rounds=4, frames=4, noise=(STOLEN,))
    return folder


def parts(run: Path, name: str) -> tuple[dict[str, object], str]:
    text = (run / "variants" / name / "README.md").read_text(encoding="utf-8")
    _, metadata, body = text.split("---\n", 2)
    return yaml.safe_load(metadata), body


def test_every_ranked_variant_has_one_and_the_failed_one_has_none(run: Path) -> None:
    made = {path.parent.name for path in run.glob("variants/*/README.md")}
    assert made == {row.name for row in read_outcome(run).rankings[0].rows}
    assert "preserving-2" not in made


def test_it_says_what_the_ranking_says(run: Path) -> None:
    ranking = read_outcome(run).rankings[0]
    row = ranking.row("standard-1")
    metadata, body = parts(run, "standard-1")
    assert metadata["license"] == "agpl-3.0"
    assert metadata["pipeline_tag"] == "object-detection"
    assert metadata["tags"] == ["yolo", "onnx", "restored"]
    assert f"| mAP50 | {with_interval(row.map50, digits=3)} |" in body
    assert f"| FPS, end to end | {with_interval(row.fps)} |" in body
    assert f"| rank in efficiency | {row.label} of 5 |" in body
    assert "Not recommended for any use." in body
    assert "the speeds are provisional" in body
    assert "imgsz=(192, 320), conf=0.25, iou=0.7, max_det=300" in body
    shipped = {advice.recommended for advice in ranking.advice} - {None}
    assert shipped
    assert all("Recommended for: " in parts(run, str(name))[1] for name in shipped)


def test_names_are_never_markup(run: Path) -> None:
    html = MarkdownIt("commonmark", {"html": True}).render(parts(run, "baseline")[1])
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert all(name in html for name in CLASSES if name.isalpha())
