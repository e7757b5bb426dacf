"""Chains of retrainings in the main flow, stopped without a gain; and one training at a time."""

from __future__ import annotations

import csv
import io
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from rich.console import Console

from flows.run_experiment import run_experiment
from prunebench.cli.views.ranking import run_ranking_view
from prunebench.config.loading import parse_config
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_judgement
from prunebench.results.outcome import read_outcome
from prunebench.results.run_folder import read_variants
from prunebench.steps.events import Event, listening
from tasks.cores import retraining
from tests.conftest import share_steps, tiny_values

STILL = {"preserving": {"lr0": 1e-6, "warmup_epochs": 0, "freeze": 22}}
"""Training that changes next to nothing, so that no round gains."""


def run(out: Path, listener: Any, **retrain: Any) -> Any:
    """State of one run of the flow."""
    values = tiny_values(out, retrain={"control": True, **retrain})
    with listening(listener):
        return run_experiment(parse_config(values), return_state=True)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return share_steps(tmp_path_factory.mktemp("runs"), tmp_path_factory)


@pytest.fixture(scope="module")
def stopped(out: Path) -> tuple[Any, list[dict[str, Any]]]:
    events: list[Event] = []
    state = run(out, events.append, rounds=4, stop_when="no_gain", strategies=STILL)
    return state, events


def test_a_chain_without_a_gain_is_stopped_and_neither_failed_nor_ranked(stopped: Any) -> None:
    state, events = stopped
    assert state.is_completed()
    assert state.message.startswith("6 of 10 variants ranked")
    assert "preserving-3, preserving-4" in state.message
    outcome = state.result()
    assert outcome["failed"] == [], "so the command ends with 0"
    folder = Path(outcome["folder"])
    variants = {variant.name: variant for variant in read_variants(folder)}
    reason = variants["preserving-3"].not_trained
    assert reason is not None
    assert (reason.round, reason.finding) == (2, "no_gain")
    assert variants["preserving-4"].not_trained == reason
    for name in ("retrained-3", "retrained-4"):
        beside = variants[name].not_trained
        assert beside is not None
        assert beside.finding == "chains_ended", "nobody is left to be held against it"
    assert {event.variant for event in events if event.kind == "epoch"} == {
        "preserving-1",
        "preserving-2",
        "retrained-1",
        "retrained-2",
    }
    ranking = read_outcome(folder).rankings[0]
    assert {row.name for row in ranking.rows} == {
        "baseline",
        "pruned",
        "preserving-1",
        "preserving-2",
        "retrained-1",
        "retrained-2",
    }
    assert ranking.failures == ()
    assert [left_out.name for left_out in ranking.not_trained] == [
        *("preserving-3", "preserving-4"),
        *("retrained-3", "retrained-4"),
    ]


def test_the_reason_is_told_wherever_the_run_is_shown(stopped: Any) -> None:
    folder = Path(stopped[0].result()["folder"])
    outcome = read_outcome(folder)
    reason = tell_judgement(outcome.rankings[0].not_trained[0].judgement, Messages())
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(run_ranking_view(outcome))
    assert f"preserving-3: {reason}" in console.export_text()
    assert reason in (folder / "report.md").read_text().replace("\\", "")
    assert reason in re.sub(r"<[^>]+>", "", (folder / "report.html").read_text())
    with (folder / "ranking.csv").open() as stream:
        rows = {row["variant"]: row for row in csv.DictReader(stream)}
    assert rows["preserving-4"]["failure"] == "not trained: no gain in round 2"
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=["ranking-tiny-1-threads"]))
    with get_client(sync_client=True) as client:
        artifacts = client.read_artifacts(artifact_filter=wanted)
    # Other tests of this server show runs of the same name.
    assert any(reason in str(artifact.data) for artifact in artifacts)


def test_a_second_run_stops_there_too_and_trains_nothing(out: Path, stopped: Any) -> None:
    events: list[Event] = []
    state = run(out, events.append, rounds=4, stop_when="no_gain", strategies=STILL)
    first = read_outcome(Path(stopped[0].result()["folder"])).rankings[0]
    second = read_outcome(Path(state.result()["folder"])).rankings[0]
    assert second.not_trained == first.not_trained
    assert not any(event.kind == "epoch" for event in events)


def test_a_single_training_at_once_is_alone_whatever_its_threads() -> None:
    entered = threading.Event()

    def enter() -> None:
        with retraining(1, 1, "second"):
            entered.set()

    other = threading.Thread(target=enter)
    with retraining(1, 1, "first"):
        other.start()
        assert not entered.wait(0.5)
    other.join(10)
    assert entered.is_set()
