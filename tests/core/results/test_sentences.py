"""Facts of records in words: every kind has its words, the same numbers in every language."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
from pydantic import BaseModel
from report_kit import MIXED, sample_of

import prunebench.results.outcome
from prunebench.common.records import Audit, Grounds, Interval, LeftAlone, Quantization, Structure
from prunebench.common.variant_record import Judgement, Reached, StockBudget, VariantRecord
from prunebench.measuring.latency.noise import noise_findings
from prunebench.measuring.latency.raw import BusyBefore, Sample, SentinelDrift
from prunebench.measuring.profile import Denormals, OffBlock, OtherOperators
from prunebench.results.diagnoses import Explained, Sound, Undiagnosed, Unexplained
from prunebench.results.messages.catalogue import Messages, catalogue
from prunebench.results.messages.observations import (
    tell_explanation,
    tell_judgement,
    tell_left_alone,
    tell_noise,
    tell_variant,
)

ENGLISH, KOREAN = Messages(), Messages("ko")
HANGUL = re.compile("[가-힣]")


def numbers(text: str) -> list[str]:
    """Figures with a decimal point, a comma or a percent sign; words may count smaller ones."""
    return sorted(re.findall(r"[+-]?\d+[.,][\d.,]*\d%?|[+-]?\d+%", text))


def both(english: str, korean: str) -> str:
    """The English text, once the Korean one is seen to say the same in figures."""
    assert HANGUL.search(korean), korean
    assert not HANGUL.search(english)
    assert numbers(english) == numbers(korean)
    return english


def disturbed(rounds: int = 8) -> list[Sample]:
    rng = np.random.default_rng(0)
    samples = []
    for number in range(rounds):
        sample = sample_of(MIXED[0], number, 0, 1, 1.0, 4, rng)
        samples.append(replace(sample, steal_share=0.5, other_cores=2.0, model_cpu_s=0.1))
        reference = {"variant": "(sentinel)", "model_ms": (3.0 + number,) * 4}
        samples.append(replace(samples[-1], **reference))
    return samples


def test_every_disturbance_has_its_words() -> None:
    findings = [
        *noise_findings(disturbed(), cpus=2),
        BusyBefore(share=0.52, limit=0.1, load_average=1.4),
        SentinelDrift(kind="sentinel_faster", share=0.06, limit=0.05),
    ]
    said = [both(tell_noise(one, ENGLISH), tell_noise(one, KOREAN)) for one in findings]
    assert len(said) == len({one.kind for one in findings}) == 7
    assert said[-2] == (
        "other processes kept 52% of all CPUs busy just before the start "
        "(limit 10%, load average 1.4)"
    )
    assert "became 6.0% faster from the first third of the rounds to the last" in said[-1]


def test_every_explanation_has_its_words() -> None:
    found = (
        Explained(name="a", cause=OffBlock(off=61, convolutions=63, block=16)),
        Explained(name="a", cause=Denormals(denormal=1_005, weights=60_192)),
        Explained(name="a", cause=OtherOperators(share=0.4, baseline_share=0.2)),
        Unexplained(name="b", times_baseline=1.5),
        Sound(names=("c", "d"), least=0.98, most=1.04),
        Sound(names=("c",), least=0.98, most=0.98),
        Undiagnosed(name="e", reason="it has two inputs"),
    )
    said = [both(tell_explanation(one, ENGLISH), tell_explanation(one, KOREAN)) for one in found]
    assert said[0] == (
        "a: 61 of 63 convolutions have widths that are no multiple of 16: set prune.round_to to 16."
    )
    assert "1,005 of 60,192 weights are denormal numbers" in said[1]
    assert said[2].startswith("a: 40% of the time goes to operators other than convolutions")
    assert "0.98 to 1.04 times as long" in said[4]
    assert "takes 0.98 times as long" in said[5]


@pytest.mark.parametrize("kind", get_args(LeftAlone.model_fields["reason"].annotation))
def test_every_reason_to_leave_modules_alone_is_told_once(kind: Any) -> None:
    left = LeftAlone(reason=kind, width=8, block=16)
    wider = left.model_copy(update={"width": 32})
    shared = left.model_copy(update={"shared_with": "f"})
    alone = {**dict.fromkeys("abcd", left), "e": wider, "g": shared}
    audit = variant("same_widths").audit
    assert audit is not None
    assert tell_left_alone(audit, ENGLISH) == ""
    audit = audit.model_copy(update={"left_alone": alone})
    said = both(tell_left_alone(audit, ENGLISH), tell_left_alone(audit, KOREAN))
    found = re.fullmatch(
        r"Pruning left alone a, b and 3 more \((.+)\); g \(channels shared with f: (.+)\)\.", said
    )
    assert found
    assert found[1] == found[2]


def variant(kind: Any, **more: Any) -> VariantRecord:
    structure = Structure(
        task="detect",
        names={0: "tree"},
        parameters=3_200,
        parameters_fused=3_100,
        macs=312_345_678,
        macs_imgsz=(64, 96),
        widths={"a": 8},
        fused=False,
        stock="yolov8n, 1 class",
    )
    grounds = Grounds(
        kind=kind,
        classes=1,
        narrower=1,
        parent_classes=7,
        parent_parameters=4_800,
        given_parameters=4_000,
    )
    audit = Audit(structure=structure, verdict="pruned", grounds=grounds, kept_share=0.5)
    return VariantRecord(name="a", parent=None, steps=(), audit=audit, **more)


@pytest.mark.parametrize("kind", get_args(Grounds.model_fields["kind"].annotation))
def test_every_ground_of_an_audit_has_its_words(kind: Any) -> None:
    record = variant(kind)
    assert both(tell_variant(record, ENGLISH), tell_variant(record, KOREAN))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            {"reached": Reached(goal="0.6x params", parameters=3_200, macs=312_345_678)},
            "for the target 0.6x params: 3,200 parameters, 312.3 M MACs",
        ),
        (
            {
                "reached": Reached(
                    goal="2x", parameters=3_200, macs=10**8, speedup=1.9, latency_ms=8.3, met=False
                )
            },
            "for the target 2x: 1.90x, 8.30 ms, the nearest to 2x that these widths reach; "
            "3,200 parameters, 100.0 M MACs",
        ),
        (
            {
                "reached": Reached(
                    goal="2x",
                    parameters=3_200,
                    macs=10**8,
                    speedup=1.9,
                    latency_ms=8.3,
                    met=False,
                    unsure=Interval(estimate=1.9, low=1.7, high=2.1),
                )
            },
            "for the target 2x: 1.90x, 8.30 ms, measured too noisily to tell whether 2x is met: "
            "[1.70, 2.10]; 3,200 parameters, 100.0 M MACs",
        ),
        (
            {
                "budget": StockBudget(
                    pruned="pruned", pruned_macs=3 * 10**8, own_epochs=100, retraining_epochs=30
                )
            },
            "312.3 M MACs beside 300.0 M of pruned, trained for the baseline's 100 epochs and "
            "30 of retraining",
        ),
        (
            {
                "budget": StockBudget(
                    pruned="pruned", pruned_macs=None, own_epochs=None, retraining_epochs=30
                )
            },
            "312.3 M MACs, trained for the 30 epochs of retraining alone: the checkpoint does not "
            "say its own",
        ),
        (
            {
                "quantization": Quantization(
                    layers=64,
                    quantized=60,
                    left_float={},
                    map50_float=0.9,
                    map50=0.9,
                    activations="u8",
                    calibration_images=8,
                )
            },
            "60 of 64 convolutions compute in INT8",
        ),
    ],
)
def test_what_a_variant_was_made_for_follows_its_audit(more: dict[str, Any], said: str) -> None:
    record = variant("narrower", **more)
    assert both(tell_variant(record, ENGLISH), tell_variant(record, KOREAN)) == (
        "1 of 1 convolutions are narrower, 3,200 parameters of 4,800 are left (66.7%), " + said
    )
    ratio = Reached(goal=None, parameters=3_200, macs=10**8)
    assert tell_variant(variant("narrower", reached=ratio), ENGLISH).endswith("(66.7%)")


@pytest.mark.parametrize("finding", get_args(Judgement.model_fields["finding"].annotation))
def test_every_judgement_has_its_words(finding: Any) -> None:
    gain = Interval(estimate=0.004, low=-0.006, high=0.013)
    judgement = Judgement(round=2, finding=finding, gain=gain, images=8, needed=20)
    said = both(tell_judgement(judgement, ENGLISH), tell_judgement(judgement, KOREAN))
    assert said.startswith("round 2: ")
    assert judgement.stops == (finding in ("no_gain", "chains_ended"))


def records(kind: Any, seen: set[type[BaseModel]]) -> set[type[BaseModel]]:
    """A record and every record inside it."""
    if isinstance(kind, type) and issubclass(kind, BaseModel) and kind not in seen:
        seen.add(kind)
        for field in kind.model_fields.values():
            records(field.annotation, seen)
    for inner in get_args(kind):
        records(inner, seen)
    return seen


def test_the_texts_of_a_classification_name_its_metric() -> None:
    for lang in ("en", "ko"):
        texts = catalogue(lang, "top1")
        assert not [k for k, text in texts.items() if "AP50" in text and not k.startswith("map50.")]
    told = Messages(metric="top1")
    assert "their mean top-1 is 0.9" in told("shipped.chosen", seed=1, n=3, mean=0.9)
    assert "as a top-1 may be 0" in told("sentence.effect.no_ratio", metric="speed")


def test_no_record_of_a_run_holds_a_sentence() -> None:
    """Texts in records are names, choices, or what an error said: ``reason`` and ``stopped``."""
    found = records(prunebench.results.outcome.RunRanking, set())
    found = records(VariantRecord, found)
    assert {"Ranking", "Difference", "Advice", "FewImages", "Audit"} <= {r.__name__ for r in found}
    for record in found:
        fields = set(record.model_fields)
        assert not fields & {"sentence", "sentences", "text", "why", "note", "advice_text"}, record
        if "reason" in fields and get_args(record.model_fields["reason"].annotation) == ():
            assert record.__name__ in {"Failure", "FailedVariant", "Undiagnosed"}
