"""A segmentation run: both mAP50 side by side everywhere, and the configured one ranks."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from experiment_kit import bare_experiment
from report_kit import CLASSES, MIXED, make_run
from rich.console import Console

from prunebench.cli.views.ranking import run_ranking_view
from prunebench.common.errors import StepError
from prunebench.experiment.figures import measured_from
from prunebench.measuring.map_bootstrap import load_detections
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.sentences import tell
from prunebench.results.outcome import RunRanking, read_latency, read_outcome
from prunebench.results.ranking.records import RankedVariant, Ranking
from prunebench.results.run_folder import read_run_config, read_variants
from tasks.publishing import ranking_rows

Runs = dict[str, tuple[Path, RunRanking]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """The same segmentation run ranked by either metric, and a detection run."""
    root = tmp_path_factory.mktemp("runs")
    options = {"threads": (1,), "rounds": 6, "frames": 4}
    return {
        "box": (root / "box", make_run(root / "box", MIXED[:3], masks="box", **options)),
        "mask": (root / "mask", make_run(root / "mask", MIXED[:3], masks="mask", **options)),
        "detect": (root / "detect", make_run(root / "detect", MIXED[:3], **options)),
    }


def ranking(runs: Runs, name: str) -> Ranking:
    return runs[name][1].rankings[0]


def test_masks_lose_the_class_they_never_fit(runs: Runs) -> None:
    for row in ranking(runs, "mask").rows:
        assert row.box_map50 is not None
        assert row.mask_map50 is not None
        # One of equally likely classes has an AP of 0.
        share = row.mask_map50.estimate / row.box_map50.estimate
        assert share == pytest.approx(1 - 1 / len(CLASSES), abs=0.05)


def test_the_metric_is_what_efficiency_and_comparisons_are_made_of(runs: Runs) -> None:
    by_box, by_mask = ranking(runs, "box"), ranking(runs, "mask")
    assert (by_box.metric, by_mask.metric) == ("box", "mask")
    for row in by_mask.rows:
        other = by_box.row(row.name)
        assert row.map50 == row.mask_map50 == other.mask_map50
        assert other.map50 == other.box_map50 == row.box_map50
        for each in (row, other):
            expected = each.map50.estimate * each.fps.estimate / each.size_mb
            assert each.efficiency.estimate == pytest.approx(expected)
    difference = by_mask.difference("accuracy", "baseline", "pruned").interval
    assert difference is not None
    lost = by_mask.row("baseline").map50.estimate - by_mask.row("pruned").map50.estimate
    assert difference.estimate == pytest.approx(lost)


def test_sentences_name_the_metric(runs: Runs) -> None:
    by_box, by_mask, m = ranking(runs, "box"), ranking(runs, "mask"), Messages()
    assert "(mask mAP50 0." in tell(by_mask.advice[-1], by_mask, m)
    pair = by_mask.difference("accuracy", "baseline", "pruned")
    assert pair.significant
    assert tell(pair, by_mask, m).endswith(" mask mAP50.")
    assert "mask" not in tell(by_box.advice[-1], by_box, m)


def test_the_csv_has_both_and_map50_is_the_one_that_ranks(runs: Runs) -> None:
    for name in ("box", "mask"):
        rows = list(csv.DictReader((runs[name][0] / "ranking.csv").open()))
        for end in ("", "_low", "_high"):
            assert all(row[f"map50{end}"] == row[f"{name}_map50{end}"] != "" for row in rows)
        assert rows[0]["box_map50"] != rows[0]["mask_map50"]
    plain = (runs["detect"][0] / "ranking.csv").read_text().splitlines()[0]
    assert "mask" not in plain
    assert read_outcome(runs["mask"][0]) == runs["mask"][1]
    stored = json.loads((runs["mask"][0] / "ranking.json").read_text())
    assert stored["rankings"][0]["rows"][0]["mask_map50"]["low"] > 0


def shown(run: RunRanking) -> list[str]:
    console = Console(width=112, record=True, file=io.StringIO())
    console.print(run_ranking_view(run))
    return console.export_text().splitlines()


def figures(row: RankedVariant) -> tuple[str, str]:
    assert row.box_map50 is not None
    assert row.mask_map50 is not None
    return f"{row.box_map50.estimate:.3f}", f"{row.mask_map50.estimate:.3f}"


def test_the_terminal_and_the_artifact_show_both(runs: Runs) -> None:
    lines = shown(runs["mask"][1])
    assert any("efficiency is that of mask mAP50" in line for line in lines)
    for row in ranking(runs, "mask").rows:
        box, mask = figures(row)
        at = next(n for n, line in enumerate(lines) if f"  {row.name}  " in line)
        assert f" {box} [" in lines[at + 1]
        assert f" {mask} [" in lines[at + 2]
    assert not any("mask" in line for line in shown(runs["detect"][1]))
    cells = ranking_rows(ranking(runs, "mask"))[0]
    assert {"box mAP50", "mask mAP50"} < set(cells)
    assert "mAP50" not in cells
    assert "mAP50" in ranking_rows(ranking(runs, "detect"))[0]


def test_the_report_shows_both_and_says_which_ranks(runs: Runs) -> None:
    folder, outcome = runs["mask"]
    report = (folder / "report.md").read_text()
    assert "every other mAP50 and AP50 of this report are those of masks" in report
    assert "Box mAP50" in report
    assert "Mask mAP50" in report
    for row in outcome.rankings[0].rows:
        assert all(figure in report for figure in figures(row))
    assert "Mask mAP50" in (folder / "report.html").read_text()
    assert "Mask mAP50" not in (runs["detect"][0] / "report.md").read_text()


def test_masks_cannot_rank_a_detection_model(runs: Runs) -> None:
    folder = runs["detect"][0]
    config = read_run_config(folder)
    metric = config.ranking.model_copy(update={"metric": "mask"})
    config = config.model_copy(update={"ranking": metric})
    with pytest.raises(StepError, match=r"ranking\.metric is mask, which it does not predict"):
        measured_from(bare_experiment(config, folder), read_variants(folder), read_latency(folder))
    with pytest.raises(KeyError):
        load_detections(folder / "variants" / "pruned" / "detections.npz", "mask")
