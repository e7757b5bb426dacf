"""What changed an accuracy, what it is judged against, and what is advised when that is missing."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_kit import LOADED, MIXED, Maker, make_run

from prunebench.common.text import points
from prunebench.config.ranking import RankingConfig
from prunebench.config.sections import Beside, Control
from prunebench.results.messages.catalogue import Messages, languages
from prunebench.results.messages.sentences import headline, tell
from prunebench.results.ranking.controls import shippable
from prunebench.results.ranking.doubts import Confounded, OneTraining, RetrainingHarmed
from prunebench.results.ranking.measured import MeasuredVariant
from prunebench.results.ranking.rank import rank
from prunebench.results.ranking.records import Change, Ranking
from prunebench.results.report.build import report_markdown

CONFIG = RankingConfig(bootstrap=200)
ROUNDS = 12
IMAGES = 100


def measured(
    name: str, map50: float, ms: float, *, spread: float = 0.004, **known: Any
) -> MeasuredVariant:
    """A variant with next to no noise, so that what is shown follows from its figures."""
    rng = np.random.default_rng(int.from_bytes(name.encode()[-6:], "little"))
    times = {r: float(ms * np.exp(rng.normal(0, 0.002))) for r in range(ROUNDS)}
    values: dict[str, Any] = {
        "parent": "baseline",
        "strategy": None,
        "parameters": None,
        "verdict": "preserved",
        "grounds": None,
        "network": f"{ms}",
        "size_mb": 3.0,
    }
    return MeasuredVariant(
        name=name,
        map50=map50,
        map50_draws=np.clip(map50 + rng.normal(0, spread, CONFIG.bootstrap), 0, 1),
        images=IMAGES,
        latency_ms={1: times},
        end_to_end_ms={1: times},
        **{**values, **known},
    )


def baseline(map50: float = 0.264) -> MeasuredVariant:
    return measured("baseline", map50, 10, parent=None, verdict="unpruned", size_mb=12.0)


def alike(number: int, map50: float, **known: Any) -> MeasuredVariant:
    """The control: the unpruned network after as many rounds of three epochs."""
    return measured(
        f"retrained-{number}",
        map50,
        10,
        parent="baseline" if number == 1 else f"retrained-{number - 1}",
        strategy="preserving",
        verdict="unpruned",
        control="retrained",
        epochs=3 * number,
        size_mb=12.0,
        **known,
    )


def preserving(number: int, map50: float, **known: Any) -> MeasuredVariant:
    parent = "pruned" if number == 1 else f"preserving-{number - 1}"
    values = {"parent": parent, "strategy": "preserving", "epochs": 3 * number, **known}
    return measured(f"preserving-{number}", map50, 6, **values)


def pruned(map50: float = 0.2) -> MeasuredVariant:
    return measured("pruned", map50, 6, verdict="pruned")


def ranked(*variants: MeasuredVariant, **options: Any) -> Ranking:
    return rank(variants, config=options.pop("config", CONFIG), threads=1, **options)


def parts(ranking: Ranking, name: str) -> dict[str, Change]:
    found = next((c.parts for c in ranking.changes if c.variant == name), ())
    return {change.part: change for change in found}


def recommended(ranking: Ranking) -> dict[str, str | None]:
    return {advice.use: advice.recommended for advice in ranking.advice}


def test_a_gain_by_retraining_does_not_hide_what_pruning_costs() -> None:
    """A checkpoint deployed at half its size: 0.264, retrained alike 0.350, pruned too 0.300."""
    ranking = ranked(baseline(), pruned(), alike(1, 0.350), preserving(1, 0.270))
    row = ranking.row("preserving-1")
    assert ranking.difference("accuracy", "preserving-1", "baseline").first == "preserving-1"
    assert (row.keeps_accuracy, row.judged_against) == ("no", "retrained-1")
    found = parts(ranking, "preserving-1")
    assert list(found) == ["retraining", "pruning"]
    assert found["retraining"].gain.estimate == pytest.approx(0.086)
    assert found["pruning"].gain.estimate == pytest.approx(-0.080)
    assert all(change.shown for change in found.values())
    assert set(recommended(ranking).values()) == {"retrained-1"}
    accuracy = ranking.advice[-1]
    assert tell(accuracy, ranking, Messages()).endswith(
        "it is not pruned: pruning is not shown to pay for this use."
    )


def test_the_same_without_the_control_is_confounded_and_nobody_wins() -> None:
    ranking = ranked(baseline(), pruned(), preserving(1, 0.300))
    row = ranking.row("preserving-1")
    assert (row.keeps_accuracy, row.confounded) == ("not shown", True)
    assert list(parts(ranking, "preserving-1")) == ["undivided"]
    doubt, note = ranking.warnings[-2:]
    assert doubt == Confounded(names=("preserving-1",), baseline="baseline")
    assert note == OneTraining(names=("preserving-1",))
    assert "the comparison with baseline is confounded" in tell(doubt, ranking, Messages())
    advice = ranking.advice[-1]
    assert (advice.recommended, advice.leader) == (None, "baseline")
    assert advice.confounded == ("preserving-1",)
    said = tell(advice, ranking, Messages())
    assert said.startswith("Accuracy first: no winner is named, for preserving-1 measured more")


def test_a_confounded_rival_that_is_not_shown_to_be_better_is_named_beside_the_baseline() -> None:
    ranking = ranked(baseline(), pruned(), preserving(1, 0.265))
    advice = ranking.advice[-1]
    assert (advice.recommended, advice.confounded) == ("baseline", ("preserving-1",))
    assert "; not shown to be less accurate, but left out" in tell(advice, ranking, Messages())
    behind = ranked(baseline(), pruned(), preserving(1, 0.230)).advice[-1]
    assert (behind.recommended, behind.confounded) == ("baseline", ())


def test_a_confounded_variant_wins_no_tie_by_its_accuracy() -> None:
    """A restored network is as fast as the baseline, so accuracy would decide between them."""
    standard = measured("standard-1", 0.5, 10, verdict="restored", epochs=3, strategy="standard")
    lone = ranked(baseline(), standard)
    assert recommended(lone) == {"real-time": "baseline", "balance": "standard-1", "accuracy": None}
    beside = ranked(baseline(), standard, alike(1, 0.4))
    assert recommended(beside)["real-time"] == "standard-1"


def test_a_retraining_that_harmed_is_said_and_its_loss_is_not_allowed_either() -> None:
    ranking = ranked(baseline(0.84), pruned(0.7), alike(1, 0.70), preserving(1, 0.69))
    row = ranking.row("preserving-1")
    assert (row.keeps_accuracy, row.judged_against) == ("no", "baseline")
    (harmed,) = [w for w in ranking.warnings if isinstance(w, RetrainingHarmed)]
    assert (harmed.reference, harmed.name) == ("baseline", "retrained-1")
    assert harmed.change.estimate == pytest.approx(-0.14)
    assert "retrained-1 against baseline -0.140 [" in tell(harmed, ranking, Messages())
    assert recommended(ranking)["accuracy"] == "baseline"


def test_a_loss_that_may_be_over_the_limit_is_no_tie_where_accuracy_decides() -> None:
    """Too few images to tell 0.05 apart; faster, but accuracy first is asked for."""
    noisy = {"spread": 0.03}
    family = (baseline(0.264), pruned(), alike(1, 0.35, **noisy))
    for cost, chosen in ((0.05, "retrained-1"), (0.0, "preserving-1")):
        faster = preserving(1, 0.35 - cost, spread=0.03 if cost else 0.004)
        ranking = ranked(*family, faster)
        assert not ranking.difference("accuracy", "retrained-1", "preserving-1").significant
        assert recommended(ranking)["accuracy"] == chosen


def test_who_was_not_retrained_is_judged_against_the_baseline() -> None:
    int8 = measured("baseline-int8", 0.26, 5, control="int8", quantized=True)
    ranking = ranked(baseline(), pruned(0.25), alike(1, 0.4), preserving(1, 0.39), int8)
    against = {row.name: row.judged_against for row in ranking.rows}
    assert against == {
        "baseline": None,
        "pruned": "baseline",
        "retrained-1": "baseline",
        "baseline-int8": "baseline",
        "preserving-1": "retrained-1",
    }


def test_each_round_is_held_against_its_own_control_and_int8_against_its_parents() -> None:
    int8 = measured("preserving-2-int8", 0.35, 3, parent="preserving-2", epochs=6, quantized=True)
    control = measured(
        *("retrained-2-int8", 0.39, 5),
        parent="retrained-2",
        epochs=6,
        quantized=True,
        control="retrained",
    )
    chain = (preserving(1, 0.33), preserving(2, 0.36), int8)
    ranking = ranked(baseline(), pruned(), alike(1, 0.34), alike(2, 0.40), *chain, control)
    assert ranking.row("preserving-1").judged_against == "retrained-1"
    assert ranking.row("preserving-2").judged_against == "retrained-2"
    assert ranking.row("preserving-2-int8").judged_against == "retrained-2"
    found = parts(ranking, "preserving-2-int8")
    assert {part: (c.before, c.after) for part, c in found.items()} == {
        "retraining": ("baseline", "retrained-2"),
        "pruning": ("retrained-2", "preserving-2"),
        "int8": ("preserving-2", "preserving-2-int8"),
    }
    assert list(parts(ranking, "retrained-2-int8")) == ["retraining", "int8"]
    assert not any(e.variant.startswith("retrained") for e in ranking.effects)


def test_what_an_activation_costs_is_not_called_pruning() -> None:
    relu = preserving(1, 0.31, beside=("activation", "preserving-1"), strategy="preserving-relu")
    relu = dataclasses.replace(relu, name="preserving-relu-1", parent="pruned")
    ranking = ranked(baseline(), pruned(), alike(1, 0.34), preserving(1, 0.33), relu)
    found = parts(ranking, "preserving-relu-1")
    assert {part: (c.before, c.after) for part, c in found.items()} == {
        "retraining": ("baseline", "retrained-1"),
        "pruning": ("retrained-1", "preserving-1"),
        "activation": ("preserving-1", "preserving-relu-1"),
    }
    assert ranking.row("preserving-relu-1").judged_against == "retrained-1"
    alone = parts(ranked(baseline(), pruned(), alike(1, 0.34), relu), "preserving-relu-1")
    assert list(alone) == ["retraining", "pruning"]


def test_training_for_int8_is_held_against_the_int8_file_without_it() -> None:
    qat = preserving(1, 0.32, beside=("qat", "preserving-1"), strategy="qat")
    qat = dataclasses.replace(qat, name="qat-1", parent="pruned")
    int8 = [
        measured(f"{name}-int8", map50, 3, parent=name, epochs=3, quantized=True)
        for name, map50 in (("preserving-1", 0.30), ("qat-1", 0.315))
    ]
    whole = [baseline(), pruned(), alike(1, 0.34), preserving(1, 0.33), qat]
    found = parts(ranked(*whole, *int8), "qat-1-int8")
    assert {part: (c.before, c.after) for part, c in found.items()} == {
        "retraining": ("baseline", "retrained-1"),
        "pruning": ("retrained-1", "preserving-1"),
        "int8": ("preserving-1", "preserving-1-int8"),
        "qat": ("preserving-1-int8", "qat-1-int8"),
    }
    assert found["qat"].gain.estimate == pytest.approx(0.015)
    without = parts(ranked(*whole, int8[1]), "qat-1-int8")
    assert [(part, c.before) for part, c in without.items()][2:] == [
        ("qat", "preserving-1"),
        ("int8", "qat-1"),
    ]


def test_a_round_without_its_control_is_confounded_alone() -> None:
    ranking = ranked(baseline(), pruned(), alike(1, 0.3), preserving(1, 0.29), preserving(2, 0.29))
    assert {row.name for row in ranking.rows if row.confounded} == {"preserving-2"}


def test_a_baseline_at_the_size_it_was_trained_at_adds_the_letterbox() -> None:
    trained = measured("baseline-192x320", 0.6, 30, control="trained-size", verdict="unpruned")
    lower = measured("baseline-64x96", 0.1, 4, control="resolution", verdict="unpruned")
    ranking = ranked(baseline(), trained, lower, pruned(), alike(1, 0.35), preserving(1, 0.3))
    assert list(parts(ranking, "preserving-1")) == ["letterbox", "retraining", "pruning"]
    (own,) = parts(ranking, "baseline").values()
    assert (own.part, own.before) == ("letterbox", "baseline-192x320")
    assert own.gain.estimate == pytest.approx(0.264 - 0.6)
    assert parts(ranking, "baseline-64x96")["letterbox"].gain.estimate == pytest.approx(-0.5)
    assert parts(ranking, "baseline-192x320") == {}


@given(st.data(), st.booleans(), st.booleans())
def test_the_parts_of_a_change_add_up(data: st.DataObject, sized: bool, controlled: bool) -> None:
    score = st.floats(0.1, 0.9)
    variants = [baseline(data.draw(score)), pruned(data.draw(score))]
    if sized:
        size: dict[str, Any] = {"control": "trained-size", "verdict": "unpruned"}
        variants.append(measured("sized", data.draw(score), 20, **size))
    for number in (1, 2):
        variants.append(preserving(number, data.draw(score)))
        if controlled:
            variants.append(alike(number, data.draw(score)))
    besides: tuple[Beside, ...] = ("activation", "preserving-1"), ("qat", "preserving-relu-1")
    for beside, name in zip(besides, ("preserving-relu-1", "qat-relu-1"), strict=True):
        other = preserving(1, data.draw(score), beside=beside, strategy=name[:-2])
        variants.append(dataclasses.replace(other, name=name))
    for parent in list(variants):
        if parent.name.endswith("-1") and not data.draw(st.booleans()):
            continue
        control: Control | None = "int8" if parent.name == "baseline" else parent.control
        known = {"parent": parent.name, "epochs": parent.epochs, "control": control}
        variants.append(
            measured(f"{parent.name}-int8", data.draw(score), 4, quantized=True, **known)
        )
    ranking = ranked(*variants)
    scores = {variant.name: variant.map50 for variant in variants}
    first = "sized" if sized else "baseline"
    for story in ranking.changes:
        assert story.parts[0].before == first
        assert story.parts[-1].after == story.variant
        ends = [change.after for change in story.parts[:-1]]
        assert ends == [change.before for change in story.parts[1:]]
        whole = sum(change.gain.estimate for change in story.parts)
        assert whole == pytest.approx(scores[story.variant] - scores[first])
    told = {story.variant for story in ranking.changes}
    assert told == scores.keys() - {first}


def test_what_lost_its_pruning_or_too_much_accuracy_is_not_what_pruning_gives() -> None:
    lost = measured("standard-1", 0.34, 10, verdict="restored", epochs=3, strategy="standard")
    ranking = ranked(baseline(), pruned(), alike(1, 0.35), preserving(1, 0.345), lost)
    assert [row.name for row in shippable(ranking.rows)] == ["preserving-1"]
    slower = measured("preserving-1", 0.34, 14, epochs=3, strategy="preserving")
    (pair,) = ranked(baseline(), alike(1, 0.42), pruned(), slower, config=LOOSE).against_controls
    assert (pair.control, pair.variant, pair.verdict) == ("retrained-1", "preserving-1", "beaten")


LOOSE = CONFIG.model_copy(update={"max_map50_loss": 0.1})


@pytest.mark.parametrize("lang", languages())
def test_the_report_splits_the_change_where_it_can(tmp_path: Path, lang: str) -> None:
    m = Messages(lang)
    makers = MIXED[:5]
    controls = [
        Maker(
            f"retrained-{number}",
            "baseline" if number == 1 else "retrained-1",
            (*LOADED, *["retrain"] * number),
            "unpruned",
            13.15,
            0.98,
            "preserving",
            number,
        )
        for number in (1, 2)
    ]
    for name, added in (("without", ()), ("with", controls)):
        limits = {"max_map50_loss": 0.2}
        outcome = make_run(tmp_path / name, (*makers, *added), threads=(1,), limits=limits)
    without, beside = (
        report_markdown(tmp_path / name, lang=lang).replace("\\", "")
        for name in ("without", "with")
    )
    assert m("changes.title") in without
    assert m("changes.undivided") in without
    assert m("changes.undivided") not in beside
    assert m("guide.confounded") in without
    assert m("guide.confounded") not in beside
    cost = next(c for c in outcome.rankings[0].changes if c.variant == "preserving-1").parts[-1]
    lost = {"change": points(cost.gain, signed=True), "reference": "retrained-1"}
    assert m("guide.lost", part=m("column.change_pruning"), **lost) in beside
    assert m("column.change_pruning") in beside
    assert m("sentence.doubt.one_training", names="")[2:] in beside
    assert m("controls.retrained", name="retrained-1") in beside
    assert m("conclusions.kept", total=1) in beside
    less = m("conclusions.pruning.less_accurate", names=m.listed(["preserving-1", "pruned"]))
    assert less in beside, "by what pruning costs, whatever retraining gave"
    assert less not in without


def test_the_answer_says_once_that_each_was_trained_once() -> None:
    once = ranked(baseline(), pruned(), alike(1, 0.350), preserving(1, 0.345))
    m, ko = Messages(), Messages("ko")
    for messages, said in (
        (m, "one training of each retrained variant."),
        (ko, "재학습한 변형은 각각 한 번씩만 학습함."),
    ):
        told = headline(once, messages)
        assert told is not None
        assert told.endswith(said)
        assert told.count(said) == 1
    untrained = headline(ranked(baseline(), pruned()), m)
    assert untrained is not None
    assert "training" not in untrained
