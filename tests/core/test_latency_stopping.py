"""The stopping rule: told apart, tie, still open; and how often luck tells equals apart."""

from __future__ import annotations

import math

import numpy as np
import pytest
from latency_kit import sample

from prunebench.latency.stopping import (
    is_look,
    judge_pairs,
    round_medians,
    still_open,
)


def _medians(logs: dict[str, np.ndarray]) -> dict[tuple[str, int], dict[int, float]]:
    return {
        (name, 1): {index: 10 * math.exp(value) for index, value in enumerate(values)}
        for name, values in logs.items()
    }


def _state(difference: float, spread: float, rounds: int = 8, seed: int = 0) -> str:
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, spread / math.sqrt(2), (2, rounds))
    logs = {"a": noise[0], "b": noise[1] + math.log1p(difference)}
    (pair,) = judge_pairs(_medians(logs), ["a", "b"], [1], 3.0, None)
    return pair.state


def test_a_clear_difference_is_told_apart_and_equals_tie() -> None:
    assert _state(0.05, spread=0.005) == "told apart"
    assert _state(0.0, spread=0.005, seed=1) == "tie"
    assert _state(0.0, spread=0.05, seed=1) == "open"


def test_drift_common_to_a_round_cancels() -> None:
    drift = np.linspace(0, 1, 8)
    jitter = np.random.default_rng(0).normal(0, 0.001, (2, 8))
    logs = {"a": drift + jitter[0], "b": drift + jitter[1] + 0.02}
    (pair,) = judge_pairs(_medians(logs), ["a", "b"], [1], 3.0, None)
    assert pair.state == "told apart"
    assert pair.ratio is not None
    assert pair.ratio.estimate == pytest.approx(math.exp(-0.02), rel=2e-3)


def test_rounds_not_measured_stay_missing() -> None:
    medians = _medians({"a": np.zeros(8), "b": np.zeros(8)})
    del medians[("b", 1)][3]
    (pair,) = judge_pairs(medians, ["a", "b"], [1], 3.0, None)
    assert pair.rounds == 7


def test_only_contested_variants_go_on() -> None:
    noise = np.random.default_rng(1).normal(0, 0.05, (3, 8))
    logs = {"a": noise[0], "b": noise[1], "slow": noise[2] + 2}
    pairs = judge_pairs(_medians(logs), ["a", "b", "slow"], [1], 3.0, None)
    assert still_open(pairs) == {("a", 1), ("b", 1)}
    pairs = judge_pairs(_medians(logs), ["a", "b", "slow"], [1], 3.0, lambda *names: False)
    assert still_open(pairs) == frozenset()
    assert [pair.state for pair in pairs] == ["not asked", "told apart", "told apart"]


def test_looks_grow_rarer() -> None:
    assert [n for n in range(60) if is_look(n, 8)] == [8, 12, 18, 27, 41]


def test_equals_are_seldom_told_apart_however_often_one_looks() -> None:
    rng = np.random.default_rng(3)
    looks = [n for n in range(41) if is_look(n, 8)]
    alarms = 0
    for _ in range(400):
        logs = {name: rng.normal(0, 0.02, 40) for name in "ab"}
        for look in looks:
            medians = _medians({name: values[:look] for name, values in logs.items()})
            (pair,) = judge_pairs(medians, ["a", "b"], [1], 3.0, None)
            if pair.state != "open":
                alarms += pair.state == "told apart"
                break
    assert alarms / 400 <= 0.05


def test_round_medians_of_inferences_and_frames() -> None:
    one = sample("a", 4, ms=3, letterbox_ms=(1, 1), inference_ms=(3, 5), nms_ms=(2, 2))
    assert round_medians([one], "model") == {("a", 1): {4: 3.0}}
    assert round_medians([one], "end_to_end") == {("a", 1): {4: 7.0}}
    assert round_medians([sample("a")], "end_to_end") == {}
