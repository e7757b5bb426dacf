"""A run that trains every retrained variant with three seeds."""

from __future__ import annotations

import csv
from pathlib import Path
from statistics import fmean, median
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from prefect.states import Completed, Failed, Pending

from flows.run_experiment import _collected, run_experiment
from prunebench.common.errors import StepError
from prunebench.common.variant_record import Failure, VariantRecord
from prunebench.config.loading import parse_config
from prunebench.experiment.plan import PlannedVariant
from prunebench.results.outcome import RunRanking, read_latency, read_outcome
from prunebench.results.ranking.doubts import OneTraining
from prunebench.results.run_folder import read_variant
from prunebench.steps.events import Event, listening
from tests.conftest import share_steps, tiny_values

SEEDS = ("0", "1", "2")


class Ran(NamedTuple):
    """A finished run, its variant of three trainings, and its progress."""

    folder: Path
    outcome: RunRanking
    variant: VariantRecord
    events: list[Event]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    out = share_steps(tmp_path_factory.mktemp("runs"), tmp_path_factory)
    retrain = {"seeds": 3, "strategies": {"preserving": {"lr0": 0.001}}}
    events: list[Event] = []
    with listening(events.append):
        state = run_experiment(parse_config(tiny_values(out, retrain=retrain)), return_state=True)
    found = state.result()
    assert found["failed"] == []
    folder = Path(found["folder"])
    return Ran(folder, read_outcome(folder), read_variant(folder, "preserving-1"), events)


def test_every_seed_is_trained_exported_and_evaluated(ran: Ran) -> None:
    home = ran.folder / "variants" / "preserving-1"
    assert sorted(path.name for path in (home / "seeds").iterdir()) == [*SEEDS]
    for seed in SEEDS:
        names = {path.name for path in (home / "seeds" / seed).iterdir()}
        assert names >= {"model.pt", "model.onnx", "detections.npz", "curves.csv", "record.json"}
    checkpoints = {one.checkpoint.sha256 for one in ran.variant.trainings if one.checkpoint}
    assert len(checkpoints) == len(SEEDS)
    assert all(ref.holds(ran.folder) for ref in ran.variant.files)
    named = {event.variant for event in ran.events if event.kind == "finished"}
    assert {f"preserving-1, seed {seed}" for seed in SEEDS} < named


def test_the_median_in_validation_is_shipped_and_it_alone_is_timed(ran: Ran) -> None:
    trainings = ran.variant.trainings
    scores = {one.seed: one.training.validation for one in trainings if one.training}
    assert None not in scores.values()
    assert scores[ran.variant.shipped] == median(scores.values())  # type: ignore[type-var]
    (shipped,) = [one for one in trainings if one.seed == ran.variant.shipped]
    own = {ref.sha256 for ref in ran.variant.files if "/seeds/" not in ref.path}
    assert own == {ref.sha256 for ref in shipped.files}
    assert ran.variant.exported is not None
    assert ran.variant.exported.onnx.path == "variants/preserving-1/model.onnx"
    assert set(read_latency(ran.folder).variants) == {"baseline", "pruned", "preserving-1"}


def test_the_row_is_the_mean_over_images_and_seeds(ran: Ran) -> None:
    row = ran.outcome.rankings[0].row("preserving-1")
    assert row.trainings == 3
    each = [one.accuracy.map50 for one in ran.variant.trainings if one.accuracy]
    assert row.map50.estimate == pytest.approx(fmean(each))
    assert not [w for w in ran.outcome.rankings[0].warnings if isinstance(w, OneTraining)]
    with (ran.folder / "ranking.csv").open() as stream:
        trainings = {row["variant"]: row["trainings"] for row in csv.DictReader(stream)}
    assert trainings == {"baseline": "1", "pruned": "1", "preserving-1": "3"}


def test_a_variant_fails_with_any_of_its_trainings_and_has_no_files_of_another() -> None:
    planned = PlannedVariant(name="preserving-1", parent="pruned", steps=(), seeds=(0, 1))
    trained = VariantRecord(name="preserving-1", parent="pruned", steps=(), seed=0)
    failed = StepError("train", "the loss is not finite", variant="preserving-1")
    states = {
        "make, seed 0": Completed(data=trained),
        "make, seed 1": Failed(data=failed),
        "ship": Pending(),
    }
    chain: Any = {title: SimpleNamespace(state=state) for title, state in states.items()}
    found = _collected(planned, chain)
    assert found.seed is None
    assert found.failure == Failure(step="make, seed 1", reason="the loss is not finite")


def test_the_report_shows_every_seed(ran: Ran) -> None:
    report = (ran.folder / "report.md").read_text(encoding="utf-8").replace("\\", "")
    table = report.partition("## Every seed")[2].partition("\n## ")[0]
    assert "Each retrained variant was trained 3 times" in table
    for one in ran.variant.trainings:
        assert one.training is not None
        assert one.accuracy is not None
        (line,) = [text for text in table.splitlines() if f"| {one.seed} |" in text]
        assert f"{one.training.validation:.3f}" in line
        assert f"{one.accuracy.map50:.3f}" in line
        assert ("shipped" in line) == (one.seed == ran.variant.shipped)
