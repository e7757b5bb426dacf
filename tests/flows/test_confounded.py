"""Deployed at less than half the size it was trained at, and retrained at that: does pruning pay?

Retraining at the new size gains what pruning loses, so beside the baseline the pruned variant looks
at least as good. The unpruned network retrained alike shows what pruning costs.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from flows.run_experiment import run_experiment
from prunebench.config.loading import parse_config
from prunebench.experiment.inputs import read_experiment
from prunebench.experiment.measure_and_rank import rank_run
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.sentences import tell
from prunebench.results.outcome import read_latency, read_outcome
from prunebench.results.ranking.doubts import Confounded, OneTraining
from prunebench.results.ranking.records import Ranking
from prunebench.results.run_folder import read_variants
from tests.conftest import share_steps, tiny_values

CONTROL = "retrained-1"
RECIPE = {"lr0": 0.003, "warmup_epochs": 0, "close_mosaic": 3, "mosaic": 0, "nbs": 16}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the run with the control."""
    values = tiny_values(
        share_steps(tmp_path_factory.mktemp("runs"), tmp_path_factory),
        name="confounded",
        data="scenes:train=128,val=32,test=100",
        image={"height": 32, "width": 64},
        prune={"target": 0.2, "round_to": None},
        ranking={"max_map50_loss": 0.02},
        retrain={
            "epochs": 4,
            "batch": 16,
            "control": True,
            "strategies": {"preserving": RECIPE},
        },
    )
    outcome: dict[str, Any] = run_experiment(parse_config(values), return_state=True).result()
    assert outcome["failed"] == []
    return Path(outcome["folder"])


@pytest.fixture(scope="module")
def without(ran: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the same run as it is ranked where the control was not asked for."""
    folder = Path(shutil.copytree(ran, tmp_path_factory.mktemp("without") / ran.name))
    shutil.rmtree(folder / "variants" / CONTROL)
    latency = read_latency(folder)
    others = tuple(name for name in latency.variants if name != CONTROL)
    latency = latency.model_copy(update={"variants": others})
    experiment = read_experiment(ran).model_copy(update={"folder": str(folder)})
    rank_run(experiment, read_variants(folder), latency)
    return folder


def ranking(folder: Path) -> Ranking:
    return read_outcome(folder).rankings[0]


def test_without_the_control_it_looks_like_a_gain_and_is_called_confounded(without: Path) -> None:
    found = ranking(without)
    assert CONTROL not in {row.name for row in found.rows}
    row = found.row("preserving-1")
    gain = found.difference("accuracy", "preserving-1", "baseline")
    assert gain.first == "preserving-1"
    # It lost nothing against the baseline, yet that is not shown to be what pruning costs.
    assert (row.keeps_accuracy, row.confounded) == ("not shown", True)
    assert Confounded(names=("preserving-1",), baseline="baseline") in found.warnings
    sentence = "preserving-1: the comparison with baseline is confounded"
    assert sentence in (without / "report.md").read_text(encoding="utf-8").replace("\\", "")


def test_the_control_changes_the_verdict(ran: Path) -> None:
    found = ranking(ran)
    row = found.row("preserving-1")
    assert (row.keeps_accuracy, row.judged_against) == ("no", "retrained-1")
    assert not row.confounded
    assert not [doubt for doubt in found.warnings if isinstance(doubt, Confounded)]
    assert OneTraining(names=("preserving-1", "retrained-1")) in found.warnings
    assert "preserving-1" not in {advice.recommended for advice in found.advice}


def test_the_change_is_told_in_parts_that_add_up(ran: Path) -> None:
    found = ranking(ran)
    (story,) = [story for story in found.changes if story.variant == "preserving-1"]
    assert [(c.part, c.before, c.after) for c in story.parts] == [
        ("letterbox", "baseline-96x160", "baseline"),
        ("retraining", "baseline", "retrained-1"),
        ("pruning", "retrained-1", "preserving-1"),
    ]
    letterbox, retraining, pruning = (change.gain.estimate for change in story.parts)
    assert letterbox < 0 < retraining
    assert pruning < 0
    rows = {row.name: row.map50.estimate for row in found.rows}
    whole = rows["preserving-1"] - rows["baseline-96x160"]
    assert letterbox + retraining + pruning == pytest.approx(whole)
    (first,) = [advice for advice in found.advice if advice.use == "accuracy"]
    assert tell(first, found, Messages()).startswith("Accuracy first: ship baseline-96x160")
