"""The gate: what holds, what is suspected, and that only a confirmed suspicion counts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from prunebench.common.statistics import Array, locate
from prunebench.measuring.map_bootstrap import Scores
from prunebench.operating.gate.decision import (
    GateFinding,
    GateLimits,
    GateResult,
    decide,
    decision_sentence,
    finding_sentence,
    judge,
    memory_check,
    needs_confirmation,
    paired_accuracy,
    paired_latency,
    stored_check,
)

LIMITS = GateLimits()
ROUNDS = 12
IMAGES = 100


def variant(
    rng: np.random.Generator, drift: Array, *, slower: float = 1.0, map50: float = 0.85
) -> tuple[dict[int, float], Scores]:
    """Milliseconds by round, and accuracy."""
    noise = rng.normal(0, 0.007, ROUNDS)
    rounds = {r: float(10 * slower * np.exp(drift[r] + noise[r])) for r in range(ROUNDS)}
    draws = rng.normal(map50, 0.006, 400)
    return rounds, Scores(map50, draws, np.array([map50]), draws[:, None])


def measure(seed: int, *, slower: float = 1.0, map50: float = 0.85) -> tuple[GateFinding, ...]:
    rng = np.random.default_rng(seed)
    drift = rng.normal(0, 0.1, ROUNDS)
    before, recorded = variant(rng, drift)
    now, scores = variant(rng, drift, slower=slower, map50=map50)
    checks = paired_latency("candidate", 1, now, before, LIMITS)
    checks.append(paired_accuracy("candidate", [scores], [recorded], IMAGES, LIMITS))
    return judge(checks, LIMITS)


def gate(seed: int, *, slower: float = 1.0) -> GateResult:
    findings = measure(seed, slower=slower)
    again = measure(seed + 100_000, slower=slower) if needs_confirmation(findings) else ()
    return decide(findings, again)


@pytest.mark.parametrize(
    ("limit", "standing", "said"),
    [
        (
            100,
            "holds",
            "peak memory -19.7 % [-20.0, -19.4] by ranking.max_rss_mb: the limit holds.",
        ),
        (80.3, "not shown", "the limit is not shown to hold, nor to be broken."),
        (
            64,
            "suspected",
            "peak memory +25.5 % [+25.0, +25.9] by ranking.max_rss_mb: a regression is",
        ),
    ],
)
def test_memory_is_judged_by_its_limit_alone(limit: float, standing: str, said: str) -> None:
    rounds = {number: 80.0 + 0.5 * (number % 3 - 0.4) for number in range(ROUNDS)}
    (finding,) = judge([memory_check("candidate", 1, rounds, limit)], LIMITS)
    assert (finding.metric, finding.standing, finding.allowed) == ("memory", standing, 0)
    assert finding.change.estimate == pytest.approx(100 * (80.3 / limit - 1), abs=0.1)
    assert said in finding_sentence(finding)


def test_an_equal_candidate_holds() -> None:
    findings = measure(1)
    assert [(f.subject, f.metric, f.standing) for f in findings] == [
        ("candidate, 1 thread", "latency", "holds"),
        ("candidate", "accuracy", "holds"),
    ]
    assert finding_sentence(findings[0]).endswith("+3 % allowed: the limit holds.")
    result = decide(findings)
    assert (result.passed, decision_sentence(result)) == (True, "Every check holds.")


def test_a_slow_candidate_fails_once_confirmed() -> None:
    first, second = measure(2, slower=1.08), measure(3, slower=1.08)
    assert needs_confirmation(first)
    result = decide(first, second)
    assert not result.passed
    assert result.regressions == ("candidate, 1 thread: latency",)
    assert decision_sentence(result).endswith("A second measurement confirms it.")


def test_an_inaccurate_candidate_fails_once_confirmed() -> None:
    result = decide(measure(4, map50=0.78), measure(5, map50=0.78))
    assert result.regressions == ("candidate: accuracy",)
    assert "mAP50 loss +0.070" in decision_sentence(result)


def test_an_unconfirmed_suspicion_does_not_count() -> None:
    result = decide(measure(6, slower=1.08), measure(7))
    assert result.passed
    assert decision_sentence(result) == (
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
    check = stored_check("candidate", 2, locate(noisy), locate(np.zeros(ROUNDS)), LIMITS)
    (finding,) = judge([check], LIMITS)
    assert finding.standing == "not shown"
    assert finding.subject == "candidate, 2 threads"
    assert decision_sentence(decide([finding])).startswith(
        "No regression is shown; not every check"
    )


def test_too_few_rounds_are_no_check() -> None:
    full, _ = variant(np.random.default_rng(12), np.zeros(ROUNDS))
    assert paired_latency("candidate", 1, {0: 10.0}, full, LIMITS) == []


def test_a_stored_baseline_is_compared_by_the_reference_model() -> None:
    rng = np.random.default_rng(13)
    stored = rng.normal(math.log(3), 0.01, 20)
    now = rng.normal(math.log(3 * 1.1), 0.01, 12)
    (finding,) = judge([stored_check("candidate", 1, locate(now), locate(stored), LIMITS)], LIMITS)
    assert finding.standing == "suspected"
    assert finding.change.estimate == pytest.approx(10, abs=1.5)


def test_error_rates_of_the_whole_gate() -> None:
    """Equal candidates all pass, and 8 % slower ones are nearly always stopped."""
    runs = 60
    assert all(gate(seed).passed for seed in range(runs))
    stopped = sum(not gate(seed, slower=1.08).passed for seed in range(runs))
    assert stopped >= 0.95 * runs


def seeds(seed: int, map50s: tuple[float, ...]) -> list[Scores]:
    rng = np.random.default_rng(seed)
    return [variant(rng, np.zeros(ROUNDS), map50=map50)[1] for map50 in map50s]


def accuracy(candidate: list[Scores], baseline: list[Scores]) -> GateFinding:
    return judge([paired_accuracy("candidate", candidate, baseline, IMAGES, LIMITS)], LIMITS)[0]


def test_a_loss_that_another_seed_may_undo_is_not_shown() -> None:
    files = accuracy(seeds(14, (0.78,)), seeds(15, (0.85,)))
    assert files.standing == "suspected", "of these two files it is"
    spread = accuracy(seeds(16, (0.78, 0.85, 0.71)), seeds(17, (0.85, 0.80, 0.90)))
    assert spread.change.estimate == pytest.approx(0.07)
    assert spread.standing == "not shown"
    steady = accuracy(seeds(18, (0.78, 0.785, 0.775)), seeds(19, (0.85, 0.855, 0.845)))
    assert steady.standing == "suspected"


def test_the_same_trainings_lose_nothing() -> None:
    same = seeds(20, (0.6, 0.9, 0.7))
    assert accuracy(same, same).standing == "holds"
    assert accuracy(same, same[:2]).standing == "not shown"
