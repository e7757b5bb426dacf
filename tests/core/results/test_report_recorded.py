"""Sentences that records carry in English, told in Korean: what the code really says is known."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from report_kit import MIXED, make_run, sample_of

from prunebench.measuring.latency.noise import noise_findings
from prunebench.measuring.latency.records import Sample
from prunebench.measuring.profile import NetworkProfile, advise
from prunebench.results.messages.catalogue import Messages
from prunebench.results.report.recorded import recorded, recorded_item
from prunebench.results.run_folder import read_variants
from prunebench.variants.audit import judge
from prunebench.variants.graph import groups

KOREAN = Messages("ko")


def told(text: str) -> str:
    item = recorded_item(text, KOREAN)
    assert item.lang is None, text
    assert item.text != text
    return item.text


def disturbed(rounds: int = 8) -> list[Sample]:
    rng = np.random.default_rng(0)
    samples = []
    for number in range(rounds):
        sample = sample_of(MIXED[0], number, 0, 1, 1.0, 4, rng)
        samples.append(
            sample.model_copy(update={"steal_share": 0.5, "other_cores": 2.0, "model_cpu_s": 0.1})
        )
        reference = {"variant": "(sentinel)", "model_ms": (3.0 + number,) * 4}
        samples.append(samples[-1].model_copy(update=reference))
    return samples


def test_every_disturbance_is_told() -> None:
    findings = noise_findings(disturbed(), cpus=2)
    assert len(findings) == 5
    for finding in findings:
        numbers = told(finding)
        assert "%" in numbers


def test_every_reason_to_leave_a_module_alone_is_told() -> None:
    reasons = [getattr(groups, name) for name in vars(groups) if name.startswith("IS_")]
    assert len(reasons) == 6
    for reason in reasons:
        assert recorded(reason, KOREAN) != reason
        assert recorded(reason, Messages("en")) == reason


def test_advice_of_a_diagnosis_is_told_with_the_variants_name() -> None:
    baseline = NetworkProfile(
        convolutions=64,
        blocked=64,
        quantized=0,
        reorders=8,
        off_block={},
        weights=1000,
        denormal_weights=0,
        mmacs=100.0,
        kernel_ms=2.0,
        time_shares={"Conv": 0.9, "Softmax": 0.1},
    )
    ill = baseline.model_copy(update={"off_block": {"model.0": 17}, "denormal_weights": 3})
    found = advise(ill, baseline, 16)
    slow = baseline.model_copy(update={"kernel_ms": 4.0, "time_shares": {"Conv": 0.3}})
    found += advise(slow, baseline, 16)
    assert len(found) == 3
    for sentence in found:
        assert told(f"pruned: {sentence}").startswith("pruned: ")


def test_what_the_audit_says_is_told(tmp_path: Path) -> None:
    """Every verdict the real audit gives, on the structures of a synthetic run."""
    make_run(tmp_path / "run", MIXED[:4], threads=(1,), rounds=4, frames=4)
    by_name = {v.name: v.audit for v in read_variants(tmp_path / "run")}
    baseline, pruned, restored = (by_name[name] for name in ("baseline", "pruned", "standard-1"))
    assert baseline is not None
    assert pruned is not None
    assert restored is not None
    moved = pruned.structure.model_copy(update={"widths": {"a": 1}, "parameters": 5, "stock": None})
    audits = [
        judge(baseline.structure, parent=None, baseline=None),
        judge(pruned.structure, parent=None, baseline=None),
        cut := judge(pruned.structure, parent=baseline, baseline=baseline),
        judge(pruned.structure, parent=cut, baseline=baseline),
        judge(restored.structure, parent=cut, baseline=baseline),
        judge(moved, parent=cut, baseline=baseline),
    ]
    assert len({recorded(audit.why, KOREAN) for audit in audits}) == len(audits)
    for audit in audits:
        said = told(audit.why)
        assert sorted(re.findall(r"\d[\d,.]*\d", said)) == sorted(
            re.findall(r"\d[\d,.]*\d", audit.why)
        )


def test_what_another_version_recorded_stays_and_is_marked() -> None:
    item = recorded_item("something nobody says any more", KOREAN)
    assert (item.text, item.lang) == ("something nobody says any more", "en")
    nested = "pruned: something nobody says any more"
    assert recorded_item(nested, KOREAN).lang == "en"
