"""Tuning changes nothing by luck, finds what is there, and of tied settings takes the smallest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from prunebench.operating.tuning.changes import Change, combined
from prunebench.operating.tuning.choice import OWN, Compared, choose, judge, shortlist

FIRST, SECOND = 8, 20  # Rounds of the two measurements, at the default settings.
MATTERS = 3.0
CHANGES = [Change(f"change {index}", {f"option.{index}": "1"}) for index in range(10)]
Effects = Mapping[str, tuple[float, float]]
"""Part of a setting's name to what it multiplies milliseconds and megabytes with."""


class Host:
    """Rounds of settings: what is common to a round, and what is left of noise in a ratio."""

    def __init__(self, seed: int, effects: Effects, spread: float, spread_mb: float) -> None:
        self.rng = np.random.default_rng(seed)
        self.effects, self.spread, self.spread_mb = effects, spread, spread_mb

    def measure(self, names: Sequence[str], rounds: int) -> Compared:
        """That many rounds of settings and of the run's own."""
        times: dict[str, dict[int, float]] = {name: {} for name in (OWN, *names)}
        sizes: dict[str, dict[int, float]] = {name: {} for name in times}
        for index in range(rounds):
            shared = self.rng.normal(0, 0.1)
            for name in times:
                parts = name.split(" + ")
                ms, mb = np.prod([self.effects.get(part, (1.0, 1.0)) for part in parts], axis=0)
                noise, noise_mb = self.rng.normal(0, (self.spread, self.spread_mb))
                times[name][index] = 8 * ms * math.exp(shared + noise)
                sizes[name][index] = 40 * mb * math.exp(noise_mb)
        return Compared.of(times, sizes)


def tuned(host: Host) -> str | None:
    """What a whole tuning takes."""
    names = [change.name for change in CHANGES]
    listed = shortlist(host.measure(names, FIRST), names)
    combinations = combined([CHANGES[names.index(name)] for name in listed])
    return confirmed(host, [*combinations])


def confirmed(host: Host, names: Sequence[str]) -> str | None:
    """What the second measurement alone takes, of combinations it is given."""
    if not names:
        return None
    compared = host.measure(names, SECOND)
    return choose(compared, judge(compared, names, MATTERS))


@pytest.mark.parametrize(("spread", "spread_mb"), [(0.014, 0.002), (0.06, 0.02)])
def test_where_all_settings_are_equal_at_most_one_tuning_in_twenty_changes_anything(
    spread: float, spread_mb: float
) -> None:
    count = 100
    changed = sum(tuned(Host(seed, {}, spread, spread_mb)) is not None for seed in range(count))
    assert changed / count <= 0.05


def test_the_second_measurement_alone_keeps_that_rate_whatever_the_first_hands_on() -> None:
    names, count = [*combined(CHANGES[:3])], 100
    assert len(names) == 7
    hosts = (Host(1000 + seed, {}, 0.03, 0.01) for seed in range(count))
    assert sum(confirmed(host, names) is not None for host in hosts) / count <= 0.05


def test_a_gain_in_time_is_found_and_nothing_that_gains_nothing_comes_with_it() -> None:
    faster = {"change 3": (0.92, 1.0)}
    found = [tuned(Host(seed, faster, 0.02, 0.01)) for seed in range(20)]
    assert found.count("change 3") >= 18


def test_two_gains_are_taken_together() -> None:
    both = {"change 3": (0.92, 1.0), "change 5": (0.90, 1.0)}
    found = [tuned(Host(seed, both, 0.02, 0.01)) for seed in range(20)]
    assert found.count("change 5 + change 3") >= 18


def test_memory_is_a_reason_where_the_latency_is_a_tie() -> None:
    smaller = {"change 3": (1.0, 0.85)}
    found = [tuned(Host(seed, smaller, 0.01, 0.01)) for seed in range(20)]
    assert found.count("change 3") >= 18


def test_memory_is_no_reason_to_be_slower() -> None:
    slower = {"change 3": (1.03, 0.7)}
    assert {tuned(Host(seed, slower, 0.01, 0.01)) for seed in range(20)} == {None}


def test_of_two_that_are_as_fast_the_smaller_is_taken() -> None:
    host = Host(0, {"a": (0.9, 1.0), "b": (0.9, 0.8)}, 0.01, 0.01)
    assert confirmed(host, ["a", "b"]) == "b"


def test_one_of_two_changes_is_enough_where_each_does_what_both_do() -> None:
    host = Host(0, {}, 0.01, 0.01)
    compared = host.measure(["a", "b", "a + b"], FIRST)
    sizes = {name: dict.fromkeys(range(FIRST), 34.0) for name in ("a", "b", "a + b")}
    rng = np.random.default_rng(0)
    for rounds in sizes.values():
        rounds.update({index: mb * math.exp(rng.normal(0, 0.01)) for index, mb in rounds.items()})
    memory = Compared.of(sizes, sizes | {OWN: dict.fromkeys(range(FIRST), 40.0)}).memory
    compared = compared._replace(memory=memory)
    assert choose(compared, judge(compared, ["a", "b", "a + b"], MATTERS)) in ("a", "b")


def test_a_setting_that_loses_accuracy_is_not_taken() -> None:
    host = Host(0, {"a": (0.8, 1.0), "b": (0.9, 1.0)}, 0.01, 0.01)
    compared = host.measure(["a", "b", "a + b"], SECOND)
    shown = judge(compared, ["a", "b", "a + b"], MATTERS)
    assert choose(compared, shown) == "a + b"
    assert choose(compared, shown, ["a + b", "a"]) == "b"
    assert choose(compared, shown, ["a + b", "a", "b"]) is None


def test_of_changes_of_one_option_the_best_is_combined_with_others() -> None:
    four = Change("threads 4", {"intra_op_num_threads": 4})
    two = Change("threads 2", {"intra_op_num_threads": 2})
    plain = Change("arena off", {"enable_cpu_mem_arena": False})
    found = combined([four, two, plain])
    assert [*found] == ["threads 4", "arena off", "threads 4 + arena off"]
    assert found["threads 4 + arena off"].options == {
        "intra_op_num_threads": 4,
        "enable_cpu_mem_arena": False,
    }
