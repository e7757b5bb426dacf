"""The gate: what holds, what is suspected, and that only a confirmed suspicion counts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from prunebench.common.statistics import Array
from prunebench.operating.gate.decision import (
    GateFinding,
    GateLimits,
    GateResult,
    decide,
    judge,
    needs_confirmation,
    paired_checks,
    stored_check,
)
from prunebench.results.ranking import MeasuredVariant

LIMITS = GateLimits()
ROUNDS = 12
IMAGES = 100


def variant(
    name: str, rng: np.random.Generator, drift: Array, *, slower: float = 1.0, map50: float = 0.85
) -> MeasuredVariant:
    noise = rng.normal(0, 0.007, (2, ROUNDS))
    rounds = [
        {r: float(10 * slower * np.exp(drift[r] + row[r])) for r in range(ROUNDS)} for row in noise
    ]
    return MeasuredVariant(
        name=name,
        parent=None,
        strategy=None,
        round=0,
        parameters=None,
        verdict=None,
        grounds=None,
        network=name,
        size_mb=6.0,
        map50=map50,
        map50_draws=rng.normal(map50, 0.006, 400),
        images=IMAGES,
        latency_ms={1: rounds[0]},
        end_to_end_ms={1: rounds[1]},
    )


def measure(
    seed: int, *, slower: float = 1.0, map50: float = 0.85, threads: tuple[int, ...] = (1,)
) -> tuple[GateFinding, ...]:
    rng = np.random.default_rng(seed)
    drift = rng.normal(0, 0.1, ROUNDS)
    baseline = variant("baseline", rng, drift)
    candidate = variant("candidate", rng, drift, slower=slower, map50=map50)
    return judge(paired_checks(candidate, baseline, threads, LIMITS), LIMITS)


def gate(seed: int, *, slower: float = 1.0) -> GateResult:
    findings = measure(seed, slower=slower)
    again = measure(seed + 100_000, slower=slower) if needs_confirmation(findings) else ()
    return decide(findings, again)


def test_an_equal_candidate_holds() -> None:
    findings = measure(1)
    assert [(f.subject, f.metric, f.standing) for f in findings] == [
        ("candidate, 1 thread", "latency", "holds"),
        ("candidate", "accuracy", "holds"),
    ]
    assert findings[0].sentence.endswith("+3 % allowed: the limit holds.")
    result = decide(findings)
    assert (result.passed, result.sentence) == (True, "Every check holds.")


def test_a_slow_candidate_fails_once_confirmed() -> None:
    first, second = measure(2, slower=1.08), measure(3, slower=1.08)
    assert needs_confirmation(first)
    result = decide(first, second)
    assert not result.passed
    assert result.regressions == ("candidate, 1 thread: latency",)
    assert result.sentence.endswith("A second measurement confirms it.")


def test_an_inaccurate_candidate_fails_once_confirmed() -> None:
    result = decide(measure(4, map50=0.78), measure(5, map50=0.78))
    assert result.regressions == ("candidate: accuracy",)
    assert "mAP50 loss +0.070" in result.sentence


def test_an_unconfirmed_suspicion_does_not_count() -> None:
    result = decide(measure(6, slower=1.08), measure(7))
    assert result.passed
    assert result.sentence == (
        "The suspicion against candidate, 1 thread was not confirmed by a second measurement."
    )


def test_a_suspicion_has_to_be_measured_again() -> None:
    with pytest.raises(ValueError, match="candidate, 1 thread was suspected and not measured"):
        decide(measure(8, slower=1.08))


def test_worse_by_less_than_allowed_is_no_suspicion() -> None:
    finding = measure(9, slower=1.015)[0]
    assert finding.change.low > 0
    assert finding.standing == "holds"


def test_faster_is_no_regression() -> None:
    assert measure(10, slower=0.8)[0].standing == "holds"


def test_what_is_not_measured_well_enough_is_not_shown() -> None:
    rng = np.random.default_rng(11)
    noisy = rng.normal(0.02, 0.1, ROUNDS)
    check = stored_check("candidate", 2, noisy, np.zeros(ROUNDS), LIMITS)
    (finding,) = judge([check], LIMITS)
    assert finding.standing == "not shown"
    assert finding.subject == "candidate, 2 threads"
    assert decide([finding]).sentence.startswith("No regression is shown; not every check")


def test_too_few_rounds_or_images_are_no_check() -> None:
    rng = np.random.default_rng(12)
    full = variant("a", rng, np.zeros(ROUNDS))
    short = MeasuredVariant(
        **{**vars(full), "name": "b", "latency_ms": {1: {0: 10.0}}, "images": 5}
    )
    assert paired_checks(short, full, (1,), LIMITS) == []


def test_a_stored_baseline_is_compared_by_the_reference_model() -> None:
    rng = np.random.default_rng(13)
    stored = rng.normal(math.log(3), 0.01, 20)
    now = rng.normal(math.log(3 * 1.1), 0.01, 12)
    (finding,) = judge([stored_check("candidate", 1, now, stored, LIMITS)], LIMITS)
    assert finding.standing == "suspected"
    assert finding.change.estimate == pytest.approx(10, abs=1.5)


def test_error_rates_of_the_whole_gate() -> None:
    """Equal candidates all pass, and 8 % slower ones are nearly always stopped."""
    runs = 60
    assert all(gate(seed).passed for seed in range(runs))
    stopped = sum(not gate(seed, slower=1.08).passed for seed in range(runs))
    assert stopped >= 0.95 * runs
