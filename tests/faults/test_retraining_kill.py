"""A training in its child process, killed for real."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest
from retraining_kit import make_dataset, make_network, parameters_in, request

from prunebench.common.errors import ChildFailed
from prunebench.steps.child import run_child
from prunebench.steps.events import Event
from prunebench.variants.checkpoint import load_parts
from prunebench.variants.retraining.step import Result


def kill_the_child() -> None:
    for child in psutil.Process().children():
        if "prunebench.steps.child" in child.cmdline():
            os.kill(child.pid, signal.SIGKILL)


RECIPE = {"mixup": 0.3, "degrees": 7.0, "cls": 0.9, "cos_lr": True}


def test_a_killed_child_continues_and_keeps_structure_and_recipe(tmp_path: Path) -> None:
    data_yaml = make_dataset(tmp_path / "data")
    pruned = make_network(tmp_path / "pruned.pt", pruned=True)
    arguments = request(pruned, data_yaml, "preserving", epochs=3, recipe=RECIPE)
    events: list[Event] = []

    def kill_after_first_epoch(event: Event) -> None:
        events.append(event)
        if event.kind == "epoch":
            kill_the_child()

    work = tmp_path / "work"
    with pytest.raises(ChildFailed, match="SIGKILL"):
        run_child("train", arguments, work, threads=1, on_event=kill_after_first_epoch)
    assert not (work / "model.pt").exists()
    saved = [event.epoch for event in events if event.kind == "epoch"]

    events.clear()
    answer = run_child("train", arguments, work, threads=1, on_event=events.append)
    result = Result.model_validate(answer)
    continued = [event.epoch for event in events if event.kind == "epoch"]
    assert saved + continued == [1, 2, 3]
    assert (result.training.resumed, result.training.epochs) == (1, 3)
    assert result.checkpoint.holds(work)
    assert parameters_in(work / "model.pt") == parameters_in(pruned)
    trained_with = load_parts(work / "model.pt")[1]
    assert {name: trained_with[name] for name in RECIPE} == RECIPE
    assert len((work / "curves.csv").read_text().splitlines()) == 4
