"""Targets as people write them, and the points of a path that reach them."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prunebench.common.errors import StepError
from prunebench.common.records import Interval
from prunebench.config.targets import parse_goal
from prunebench.variants.pruning.paths import Bundle, global_path, greedy_path, uniform_path
from prunebench.variants.pruning.search import TOLERANCE, Timed, find_point, is_told


@pytest.mark.parametrize(
    ("text", "kind", "value", "label"),
    [
        ("1.5x", "speedup", 1.5, "1.5x"),
        ("2X", "speedup", 2.0, "2x"),
        ("8 ms", "latency_ms", 8.0, "8ms"),
        ("4x int8", "speedup", 4.0, "int8-4x"),
        ("2.5 ms INT8", "latency_ms", 2.5, "int8-2.5ms"),
        ("1.7M parameters", "parameters", 1.7e6, "1.7m-parameters"),
        ("1700000 params", "parameters", 1.7e6, "1700000-parameters"),
        ("300M MACs", "macs", 3e8, "300m-macs"),
        ("0.15", "ratio", 0.15, "ratio-0.15"),
        ("ratio 0.3", "ratio", 0.3, "ratio-0.3"),
    ],
)
def test_a_target_is_read_as_people_write_it(
    text: str, kind: str, value: float, label: str
) -> None:
    goal = parse_goal(text)
    assert (goal.kind, goal.value, goal.label) == (kind, pytest.approx(value), label)
    assert goal.int8 == label.startswith("int8")


@pytest.mark.parametrize(
    "text",
    [
        "fast",
        "1x",
        "0.5x",
        "0 ms",
        "1.5",
        "0",
        "-2x",
        "2 MB",
        "",
        "0.3 int8",
        "2x int8 int8",
        "int8",
    ],
)
def test_what_no_network_can_be_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"target|ratio|speed-up"):
        parse_goal(text)


def narrowed_by_8(root: str, width: int) -> Bundle:
    return Bundle((root,), width, tuple(range(width - 8, 0, -8)))


BUNDLES = st.lists(
    st.builds(
        lambda blocks, index: Bundle(
            (f"g{index}",), 8 * blocks, tuple(range(8 * blocks - 8, 0, -8))
        ),
        st.integers(1, 8),
        st.uuids(),
    ),
    min_size=1,
    max_size=6,
)


@given(bundles=BUNDLES, seed=st.integers(0, 99))
def test_every_path_ends_at_one_block_and_never_widens(bundles: list[Bundle], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = {b.roots[0]: torch.rand(b.width, generator=generator) for b in bundles}
    paths = (
        uniform_path(bundles),
        global_path(bundles, scores),
        greedy_path(
            bundles,
            [lambda kept, b=b: (b.width - kept) ** 2.0 for b in bundles],
            lambda before, after, roots: sum(before[r] - after[r] for r in roots),
        ),
    )
    for path in paths:
        points = list(path.points())
        assert points[0] == {b.roots[0]: b.width for b in bundles}
        assert points[-1] == {b.roots[0]: min(8, b.width) for b in bundles}
        for before, after in itertools.pairwise(points):
            changed = [root for root in before if before[root] != after[root]]
            assert len(changed) == 1
            assert before[changed[0]] - after[changed[0]] == 8


def test_global_pruning_takes_the_least_important_block_first() -> None:
    bundles = [Bundle(("a",), 16, (8,)), Bundle(("b",), 24, (16, 8))]
    scores = {"a": torch.full((16,), 2.0), "b": torch.cat((torch.ones(8), torch.full((16,), 3.0)))}
    assert global_path(bundles, scores).moves == (1, 0, 1)


def test_the_greedy_path_takes_what_costs_least_per_microsecond() -> None:
    bundles = [
        Bundle(("slow",), 16, (8,)),
        Bundle(("fast",), 16, (8,)),
        Bundle(("idle",), 16, (8,)),
    ]
    lost = [lambda kept: 3.0 * (kept < 16), lambda kept: 1.0 * (kept < 16), lambda kept: 0.0]
    microseconds = {"slow": 10.0, "fast": 2.0, "idle": 0.0}
    path = greedy_path(bundles, lost, lambda before, after, roots: microseconds[roots[0]])
    # 0.3 a microsecond, then 0.5, and last what saves no time at all.
    assert path.moves == (0, 1, 2)


def timed(ratio: float, noise: float = 0.01) -> Timed:
    def interval(value: float) -> Interval:
        return Interval(estimate=value, low=value / (1 + noise), high=value * (1 + noise))

    return Timed(interval(ratio), interval(10 * ratio))


@given(
    wanted=st.floats(1.1, 3.0),
    bend=st.floats(0.5, 2.0),
    points=st.integers(60, 200),
    kind=st.sampled_from(["x", "ms", "x int8"]),
)
def test_a_reachable_target_is_met_however_wrong_the_prediction(
    wanted: float, bend: float, points: int, kind: str
) -> None:
    """True time is a power of the predicted one, as where arithmetic is not time."""
    predicted = [1 - 0.9 * i / points for i in range(points + 1)]
    truth = [p**bend for p in predicted]
    goal = parse_goal(f"{10 / wanted:.3f} ms" if kind == "ms" else f"{wanted:.3f}{kind}")
    if truth[-1] > 1 / wanted:
        return
    tried: list[str] = []
    found = find_point(predicted, lambda index: timed(truth[index]), goal, tried.append)
    nearest = min(abs(math.log(t * wanted)) for t in truth)
    off = abs(math.log(truth[found.point] * wanted))
    assert found.met == (off <= math.log1p(TOLERANCE))
    assert off <= max(math.log1p(TOLERANCE), nearest + 1e-3)
    assert len(tried) <= 7


def test_the_nearest_is_said_where_the_steps_are_too_coarse() -> None:
    times = [1.0, 0.9, 0.5]
    found = find_point(times, lambda i: timed(times[i]), parse_goal("1.5x"), lambda sentence: None)
    assert (found.point, found.met) == (2, False) or (found.point, found.met) == (1, False)


def test_a_target_that_needs_no_pruning_is_named() -> None:
    """As where the unpruned network in INT8 is faster than what is asked of the pruned one."""
    times = [0.43, 0.42, 0.35, 0.3]
    with pytest.raises(StepError, match=r"int8-2x needs no pruning: the widest .* is 2\.38x"):
        find_point(times, lambda i: timed(times[i]), parse_goal("2x int8"), lambda sentence: None)


def test_a_target_beyond_the_narrowest_network_is_named() -> None:
    times = [1.0, 0.9, 0.5]
    with pytest.raises(StepError, match=r"3x cannot be reached: .* 2\.00x as fast"):
        find_point(times, lambda i: timed(times[i]), parse_goal("3x"), lambda sentence: None)


@pytest.mark.parametrize("goal", ["1.5x", "6.67 ms"])
@pytest.mark.parametrize(
    ("speedup", "noise", "told"),
    [
        (1.5, 0.01, True),  # Met, whatever lies in the interval.
        (1.5, 0.02, False),
        (1.5, 0.3, False),
        (1.6, 0.1, False),  # It may be met.
        (1.8, 0.1, True),  # It is not.
        (1.25, 0.1, True),
    ],
)
def test_a_candidate_is_told_once_it_is_shown_to_be_off_or_exact(
    speedup: float, noise: float, told: bool, goal: str
) -> None:
    assert is_told(timed(1 / speedup, noise), parse_goal(goal)) == told


@pytest.mark.parametrize("goal", ["1.5x", "6.67 ms"])
def test_what_is_measured_too_noisily_is_not_called_met(goal: str) -> None:
    times = [1 - 0.01 * i for i in range(60)]
    for noise, met in ((0.02, True), (0.15, False)):
        asked = parse_goal(goal)
        found = find_point(times, lambda i, n=noise: timed(times[i], n), asked, lambda said: None)
        assert found.met == met
        assert (found.unsure is None) == met
        if found.unsure is not None:
            assert found.unsure.low < asked.value < found.unsure.high


def test_the_narrowest_network_is_not_refused_where_noise_may_be_why_it_is_slower() -> None:
    times = [1.0, 0.9, 0.65]
    found = find_point(times, lambda i: timed(times[i], 0.2), parse_goal("1.7x"), lambda said: None)
    assert (found.point, found.met) == (2, False)
