"""Sentences that records carry in English, told in Korean: what the code really says is known."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from report_kit import MIXED, make_run, sample_of

from prunebench.measuring.latency.noise import noise_findings
from prunebench.measuring.latency.records import Sample
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_noise
from prunebench.results.report.recorded import recorded, recorded_item
from prunebench.results.run_folder import read_variants
from prunebench.variants.audit import judge
from prunebench.variants.graph import groups

KOREAN = Messages("ko")


def numbers(text: str) -> list[str]:
    return re.findall(r"[+-]?[\d.]+%", text)


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


def test_every_disturbance_is_told_in_korean() -> None:
    findings = noise_findings(disturbed(), cpus=2)
    assert [one.kind for one in findings] == [
        "sentinel_off",
        "sentinel_slower",
        "stolen",
        "preempted",
        "busy",
    ]
    for finding in findings:
        english, korean = tell_noise(finding, Messages()), tell_noise(finding, KOREAN)
        assert sorted(numbers(english)) == sorted(numbers(korean))
        assert "하위 프로세스" in korean or "기준용 모델" in korean


def test_every_reason_to_leave_a_module_alone_is_told() -> None:
    reasons = [getattr(groups, name) for name in vars(groups) if name.startswith("IS_")]
    assert len(reasons) == 6
    for reason in reasons:
        assert recorded(reason, KOREAN) != reason
        assert recorded(reason, Messages("en")) == reason


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
