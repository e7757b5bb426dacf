"""A finished run one of whose variants was trained with three seeds: figures, report, card."""

from __future__ import annotations

import io
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import pytest
from experiment_kit import experiment_of
from history_kit import first_run
from report_kit import MIXED, make_run
from rich.console import Console
from whole_run_kit import RUN, make_whole_runs

from prunebench.cli.views.ranking import run_ranking_view
from prunebench.common.files import place
from prunebench.common.records import FileRef
from prunebench.common.variant_record import VariantRecord
from prunebench.experiment.figures import measured_from
from prunebench.experiment.measure_and_rank import rank_run
from prunebench.operating.rebenchmark import open_rebenchmark
from prunebench.results.history.compare import change_sentence, compare_runs
from prunebench.results.history.recording import record_run
from prunebench.results.history.store import Store, default_url
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_variant
from prunebench.results.outcome import RunRanking, read_latency, read_outcome
from prunebench.results.ranking.doubts import OneTraining
from prunebench.results.ranking.measured import MeasuredVariant
from prunebench.results.report.build import report_markdown
from prunebench.results.report.per_class import class_changes
from prunebench.results.report.stored import read_stored_run
from prunebench.results.run_folder import read_variants, save_variant
from prunebench.results.table.ranked import rank as rank_table
from prunebench.results.table.run_table import RunTable

NAME = "preserving-1"
SOURCES = ("preserving-1", "standard-1", "standard-2")
"""Whose detections stand for those of the seeds."""


def trained_often(folder: Path) -> RunRanking:
    """Give a run's variant three trainings, of which that of seed 1 is shipped."""
    variants = {variant.name: variant for variant in read_variants(folder)}
    kept = variants[NAME]
    each = []
    for seed, source in enumerate(SOURCES):
        found = variants.get(source, kept)
        assert kept.training is not None
        assert found.accuracy is not None
        detections = folder / "variants" / NAME / "seeds" / str(seed) / "detections.npz"
        place(folder / found.accuracy.detections.path, detections)
        update = {
            "seed": seed,
            "accuracy": found.accuracy.model_copy(
                update={"detections": FileRef.of(detections, folder)}
            ),
            "training": kept.training.model_copy(update={"validation": 0.5 + 0.1 * (seed == 0)}),
        }
        each.append(kept.model_copy(update=update))
    often = kept.model_copy(update={"trainings": tuple(each), "shipped": 1})
    save_variant(folder, often)
    variants[NAME] = often
    return rank_run(experiment_of(folder), [*variants.values()], read_latency(folder))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunRanking]:
    folder = tmp_path_factory.mktemp("runs") / "run"
    make_run(folder, MIXED, threads=(1,))
    return folder, trained_often(folder)


@pytest.fixture(scope="module")
def measured(run: tuple[Path, RunRanking]) -> dict[str, MeasuredVariant]:
    folder, _ = run
    found = measured_from(experiment_of(folder), read_variants(folder), read_latency(folder))
    return {variant.name: variant for variant in found}


def variant_of(folder: Path) -> VariantRecord:
    return next(variant for variant in read_variants(folder) if variant.name == NAME)


def test_figures_are_means_of_the_trainings(
    run: tuple[Path, RunRanking], measured: dict[str, MeasuredVariant]
) -> None:
    often, others = measured[NAME], [measured[source] for source in SOURCES[1:]]
    scores = [one.accuracy.map50 for one in variant_of(run[0]).trainings if one.accuracy]
    assert often.trainings == tuple(scores)
    assert often.map50 == pytest.approx(fmean(scores))
    assert all(other.trainings == () for other in others)
    for index, figures in often.classes.items():
        assert figures.ap50 == pytest.approx(fmean(figures.trainings))
        assert figures.trainings[1:] == tuple(other.classes[index].ap50 for other in others)
    # The mean of the draws is that of the same resamples: an image counts alike in all of them.
    own = 3 * often.map50_draws - others[0].map50_draws - others[1].map50_draws
    assert fmean(own) == pytest.approx(scores[0], abs=0.01)


def test_the_row_covers_images_and_seeds(run: tuple[Path, RunRanking]) -> None:
    folder, outcome = run
    row = outcome.rankings[0].row(NAME)
    scores = [one.accuracy.map50 for one in variant_of(folder).trainings if one.accuracy]
    assert row.trainings == 3
    assert row.map50.high - row.map50.low > 2 * 2 * stdev(scores) / np.sqrt(3)
    once = {
        name for w in outcome.rankings[0].warnings if isinstance(w, OneTraining) for name in w.names
    }
    assert NAME not in once


def test_the_csv_says_how_many_trainings_and_is_read_back(run: tuple[Path, RunRanking]) -> None:
    folder, outcome = run
    table = rank_table(folder / "ranking.csv")
    assert isinstance(table, RunTable)
    assert {row.name: row.trainings for row in table.rows} == {
        row.name: row.trainings for row in outcome.rankings[0].rows
    }
    again = rank_table(table.to_frame())
    assert isinstance(again, RunTable)
    assert again.rows == table.rows


@pytest.mark.parametrize(
    ("lang", "title", "shipped"), [("en", "Every seed", "shipped"), ("ko", "시드별 결과", "배포")]
)
def test_the_report_shows_every_seed(
    run: tuple[Path, RunRanking], lang: str, title: str, shipped: str
) -> None:
    text = report_markdown(run[0], lang=lang).replace("\\", "")
    section = text.partition(f"## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith(f"| {NAME} |")]
    assert len(lines) == 3
    for one, line in zip(variant_of(run[0]).trainings, lines, strict=True):
        assert one.training is not None
        assert one.accuracy is not None
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        validation, map50 = f"{one.training.validation:.3f}", f"{one.accuracy.map50:.3f}"
        assert cells[1:4] == [str(one.seed), validation, map50]
        assert (cells[-1] == shipped) == (one.seed == 1)


def test_classes_are_told_by_all_trainings_too(
    run: tuple[Path, RunRanking], measured: dict[str, MeasuredVariant]
) -> None:
    changes = [c for c in class_changes(read_stored_run(run[0])) if c.variant == NAME]
    assert changes
    for change in changes:
        after = measured[NAME].classes[change.id]
        assert change.after.estimate == pytest.approx(after.ap50)
        spread = stdev(after.trainings) / np.sqrt(3)
        assert change.after.high - change.after.low > 2 * 2 * spread


def test_the_minutes_of_every_seed_are_counted(run: tuple[Path, RunRanking]) -> None:
    stored = read_stored_run(run[0])
    assert stored.minutes(NAME) == pytest.approx(3 * 1.2)
    assert stored.minutes("standard-2") == pytest.approx(2 * 1.2)


def test_the_card_tells_the_file_from_the_mean(run: tuple[Path, RunRanking]) -> None:
    card = (run[0] / "variants" / NAME / "README.md").read_text(encoding="utf-8")
    assert "is the mean of 3 trainings with different seeds. This file is that of seed 1" in card
    accuracy = variant_of(run[0]).accuracy
    assert accuracy is not None
    assert f"value: {round(accuracy.map50, 4)}" in card
    assert f"its own mAP50 is {accuracy.map50:.3f}." in card


def test_compare_says_what_is_a_mean(tmp_path: Path) -> None:
    folder = first_run(tmp_path)
    with Store(default_url(tmp_path)) as store:
        record_run(store, folder)
        trained_often(folder.rename(tmp_path / "20240102T000000-abcdefabcdef"))
        later = tmp_path / "20240102T000000-abcdefabcdef"
        record_run(store, later)
        changes = compare_runs(store, folder.name, later.name).changes
    told = {change.variant: change_sentence(change) for change in changes}
    assert told[NAME].endswith("(means of 1 and 3 trainings).")
    assert "means" not in told["pruned"]


def test_measured_again_it_keeps_every_training(tmp_path: Path) -> None:
    source = make_whole_runs(tmp_path) / RUN
    trained_often(source)
    experiment, variants = open_rebenchmark(source)
    kept = next(variant for variant in variants if variant.name == NAME)
    for one in kept.trainings:
        assert one.accuracy is not None
        assert one.accuracy.detections.holds(experiment.run_folder)
    row = read_outcome(source).rankings[0].row(NAME)
    assert row.trainings == len(kept.trainings) == 3


def test_the_terminal_says_how_many_trainings(run: tuple[Path, RunRanking]) -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(run_ranking_view(run[1]))
    text = console.export_text()
    assert text.count("preserved, 3 trainings") == 1
    assert "pruned, 3 trainings" not in text


def test_a_training_that_gave_another_network_is_told(run: tuple[Path, RunRanking]) -> None:
    often, m = variant_of(run[0]), Messages()
    assert "another network" not in tell_variant(often, m)
    first, *others = often.trainings
    assert first.audit is not None
    widths = dict.fromkeys(first.audit.structure.widths, 1)
    structure = first.audit.structure.model_copy(update={"widths": widths})
    audit = first.audit.model_copy(update={"structure": structure})
    odd = first.model_copy(update={"audit": audit})
    told = tell_variant(often.model_copy(update={"trainings": (odd, *others)}), m)
    assert told.endswith("trained with seed 0 it is another network, whose speed was not measured")
