"""A run whose model is what another one pruned: every command says the same of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from flows import cli
from flows.run_experiment import run_experiment
from prunebench.common.variant_record import VariantRecord
from prunebench.config.loading import parse_config
from prunebench.experiment.inputs import Experiment
from prunebench.experiment.make import make_variant
from prunebench.experiment.prepare import prepare
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_audit, tell_model
from prunebench.results.run_folder import read_variants
from prunebench.steps.events import Event, line, listening
from prunebench.variants.audit import audit_file
from tests.conftest import share_steps, tiny_values


class Again(NamedTuple):
    """The pruned model, the run that was given it, and the progress of that."""

    model: Path
    folder: Path
    said: list[str]


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> Again:
    out = share_steps(tmp_path_factory.mktemp("runs"), tmp_path_factory)
    model, events = pruned_by(prepare(parse_config(tiny_values(out)))), list[Event]()
    values = tiny_values(out, model=str(model), name="again")
    values["retrain"]["strategies"] = {"standard": {}}
    with listening(events.append):
        outcome = run_experiment(parse_config(values), return_state=True).result()
    assert outcome["failed"] == []
    return Again(model, Path(outcome["folder"]), [line(event) for event in events])


def pruned_by(experiment: Experiment) -> Path:
    """The pruned checkpoint of a run that is not carried on."""
    made: VariantRecord | None = None
    for planned in experiment.variants[:2]:
        made = make_variant(experiment, planned, made, made, lambda _: None)
    assert made is not None
    assert made.checkpoint is not None
    return experiment.run_folder / made.checkpoint.path


def test_run_audit_init_and_plan_agree_on_it(
    again: Again,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    audit = audit_file(again.model).audit
    assert audit is not None
    assert audit.verdict == "pruned"
    assert audit.structure.parameters < 3_012_213
    baseline = next(one for one in read_variants(again.folder) if one.name == "baseline").audit
    assert baseline is not None
    assert (baseline.verdict, baseline.grounds) == (audit.verdict, audit.grounds)
    assert baseline.structure.widths == audit.structure.widths
    told = tell_model(str(again.model), audit, Messages())
    assert told in again.said

    def printed(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["prunebench", *arguments])
        with pytest.raises(SystemExit, match="0"):
            cli.main()
        return " ".join(capsys.readouterr().out.split())

    # A terminal's lines are folded anywhere.
    for command in (["audit"], ["plan", "--model"]):
        assert "".join(told.split()) in "".join(printed(*command, str(again.model)).split())
    file = tmp_path / "mine.yaml"
    data = "scenes:train=16,val=8,test=24"
    printed(
        "init", "-m", str(again.model), "-d", data, "-f", str(file), "--data-dir", str(tmp_path)
    )
    assert f"; pruned, {tell_audit(audit, Messages())}" in file.read_text()


def test_that_the_standard_strategy_made_it_wider_is_said(again: Again) -> None:
    variants = {one.name: one.audit for one in read_variants(again.folder)}
    standard, baseline = variants["standard-1"], variants["baseline"]
    assert standard is not None
    assert baseline is not None
    given = baseline.structure.parameters
    assert standard.structure.parameters == 3_012_213 > given
    assert (standard.verdict, standard.grounds.kind) == ("restored", "wider_than_given")
    wider = f"it is wider than the model given, which was pruned before and had {given:,}"
    assert wider in (again.folder / "report.md").read_text(encoding="utf-8")
    assert any(text.startswith("standard-1: restored, ") and wider in text for text in again.said)
