"""The stopping rule: told apart, tie, still open; and how often luck tells equals apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from latency_kit import sample

from prunebench.measuring.latency.raw import Sample
from prunebench.measuring.latency.stopping import (
    is_interim_look,
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
    assert [n for n in range(60) if is_interim_look(n, 8)] == [8, 12, 18, 27, 41]


def test_equals_are_seldom_told_apart_however_often_one_looks() -> None:
    rng = np.random.default_rng(3)
    looks = [n for n in range(41) if is_interim_look(n, 8)]
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


def turns(variant: str, ms: Sequence[float], round_index: int = 0) -> Sample:
    """A child run of one inference a turn."""
    return sample(variant, round_index, model_ms=tuple(ms), model_slices=(1,) * len(ms))


@given(
    st.lists(st.tuples(*[st.floats(0.5, 2.0)] * 3), min_size=3, max_size=9),
    st.floats(1.0, 50.0),
)
def test_an_effect_on_a_turn_shared_by_all_does_not_move_a_ratio(
    disturbances: list[tuple[float, float, float]], factor: float
) -> None:
    host = [one for one, _, _ in disturbances]
    a, b = ([10.0 * own for _, own, _ in disturbances], [20.0 * own for *_, own in disturbances])
    quiet = round_medians([turns("a", a), turns("b", b)], "model")
    loud = round_medians(
        [
            turns("a", [ms * h * factor for ms, h in zip(a, host, strict=True)]),
            turns("b", [ms * h * factor for ms, h in zip(b, host, strict=True)]),
        ],
        "model",
    )
    ratios = [found["b", 1][0] / found["a", 1][0] for found in (quiet, loud)]
    # For two variants it is exactly the median of the ratios of their turns.
    of_turns = float(np.median([y / x for x, y in zip(a, b, strict=True)]))
    if len(a) % 2:
        assert ratios == [pytest.approx(of_turns), pytest.approx(of_turns)]
    assert ratios[0] == pytest.approx(ratios[1])


def test_variants_of_many_are_free_of_a_disturbance_of_some_turns() -> None:
    """Tukey's example in small: rows 1, 2, 4 ms; the host slows two of five turns."""
    host = (1.0, 1.5, 1.0, 1.4, 1.0)
    together = [turns(str(ms), [ms * h for h in host]) for ms in (1.0, 2.0, 4.0)]
    found = round_medians(together, "model")
    assert [found[str(ms), 1][0] for ms in (1.0, 2.0, 4.0)] == pytest.approx([1.0, 2.0, 4.0])


def test_round_medians_of_inferences_and_frames() -> None:
    one = sample(
        "a", 4, ms=3, letterbox_ms=(1, 1), inference_ms=(3, 5), nms_ms=(2, 2), frame_slices=(2,)
    )
    assert round_medians([one], "model") == {("a", 1): {4: pytest.approx(3.0)}}
    assert round_medians([one], "end_to_end") == {("a", 1): {4: pytest.approx(7.0)}}
    assert round_medians([sample("a")], "end_to_end") == {}
