"""Rows and pairs of one table under a simulated load, and CPU time beside wall time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prunebench.common.statistics import Array, Rounds
from prunebench.common.text import times
from prunebench.config.ranking import RankingConfig
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.sentences import tell
from prunebench.results.ranking.doubts import CpuDisagrees
from prunebench.results.ranking.measured import MeasuredVariant
from prunebench.results.ranking.rank import rank
from prunebench.results.ranking.records import Metric, Ranking

Load = Callable[[np.random.Generator], Array]

CONFIG = RankingConfig(bootstrap=200)
ROUNDS = 40


def drift(rng: np.random.Generator) -> Array:
    """A host that grows slower by half."""
    return np.linspace(0, 0.4, ROUNDS) + rng.normal(0, 0.02, ROUNDS)


def bursts(rng: np.random.Generator) -> Array:
    """One round in five is slowed by a third on average."""
    return (rng.random(ROUNDS) < 0.2) * rng.exponential(0.3, ROUNDS)


def regimes(rng: np.random.Generator) -> Array:
    """Two speeds of the host, with some rounds of each at a time."""
    return 0.4 * (np.cumsum(rng.random(ROUNDS) < 0.2) % 2)


def variant(name: str, wall: Rounds, cpu: Rounds | None = None) -> MeasuredVariant:
    return MeasuredVariant(
        name=name,
        parent=None if name == "baseline" else "baseline",
        network=name,
        size_mb=1.0,
        map50=0.8,
        map50_draws=np.full(CONFIG.bootstrap, 0.8),
        images=100,
        latency_ms={1: wall},
        end_to_end_ms={1: {number: ms + 2 for number, ms in wall.items()}},
        cpu_ms={} if cpu is None else {1: cpu},
    )


def measured_under(load: Array, rounds: dict[str, int], rng: np.random.Generator) -> Ranking:
    """A ranking of variants of 10, 7, 5 ... ms, measured in their first ``rounds``."""
    variants = []
    for place, (name, count) in enumerate(rounds.items()):
        noise = load + rng.normal(0, 0.01, ROUNDS) + (rng.random(ROUNDS) < 0.05) * 0.4
        ms = 10 * 0.7**place * np.exp(noise)
        variants.append(variant(name, {r: float(ms[r]) for r in range(count)}))
    return rank(variants, config=CONFIG, threads=1)


@settings(deadline=None, max_examples=25)
@given(
    st.sampled_from([drift, bursts, regimes]),
    st.lists(st.sampled_from([8, 12, 18, 27, 40]), min_size=2, max_size=5),
    st.integers(0, 10_000),
)
def test_the_ratio_of_two_rows_is_the_paired_ratio(
    load: Load, counts: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    names = ["baseline", *(f"v{number}" for number in range(1, len(counts)))]
    ranking = measured_under(load(rng), dict(zip(names, counts, strict=True)), rng)
    for a, b in itertools.combinations(names, 2):
        first, second = ranking.row(a), ranking.row(b)
        ratios: dict[Metric, float] = {
            "speed": first.fps.estimate / second.fps.estimate,
            "latency": second.latency_ms.estimate / first.latency_ms.estimate,
        }
        for metric, ratio in ratios.items():
            paired = ranking.difference(metric, a, b).seen_from(a)
            assert paired is not None
            assert ratio == pytest.approx(1 + paired.estimate / 100, rel=1e-9)


@pytest.mark.parametrize("load", [drift, bursts, regimes])
def test_the_ratio_of_two_rows_is_the_true_one_whatever_rounds_each_was_measured_in(
    load: Load,
) -> None:
    """As in a run whose INT8 file had 8 rounds, another 18 and the baseline 40."""
    off = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        ranking = measured_under(load(rng), {"baseline": 40, "half": 18, "int8": 8}, rng)
        ms = [ranking.row(name).latency_ms.estimate for name in ("baseline", "half", "int8")]
        off += [abs(ms[1] / ms[0] / 0.7 - 1), abs(ms[2] / ms[0] / 0.49 - 1)]
    assert np.quantile(off, 0.9) < 0.02


def cpu_case(slowed: float) -> Ranking:
    """The baseline waits for ``slowed`` of its CPU time, its pruned half never."""
    rng = np.random.default_rng(0)
    cpu = {
        n: ms * np.exp(rng.normal(0, 0.005, ROUNDS)) for n, ms in (("baseline", 10), ("half", 5))
    }
    waits = {"baseline": 1 + slowed, "half": 1.0}
    return rank(
        [
            variant(
                name,
                {r: float(ms[r] * waits[name] * math.exp(rng.normal(0, 0.005))) for r in range(20)},
                {r: float(ms[r]) for r in range(20)},
            )
            for name, ms in cpu.items()
        ],
        config=CONFIG,
        threads=1,
    )


def test_wall_and_cpu_time_that_disagree_are_named_with_both_ratios() -> None:
    ranking = cpu_case(0.15)
    (doubt,) = [one for one in ranking.warnings if isinstance(one, CpuDisagrees)]
    assert (list(doubt.by_wall), doubt.baseline) == (["half"], "baseline")
    by_wall, by_cpu = doubt.by_wall["half"], doubt.by_cpu["half"]
    assert by_wall.estimate == pytest.approx(2.3, rel=0.01)
    assert by_cpu.estimate == pytest.approx(2.0, rel=0.01)
    half = f"half {times(by_wall)} by wall time, {times(by_cpu)} by CPU time"
    assert tell(doubt, ranking, Messages()).startswith(
        f"How many times as fast as baseline: {half}. Other processes"
    )
    more = {"by_wall": {"half": by_wall, "quarter": by_cpu}, "by_cpu": {"quarter": by_cpu}}
    grouped = doubt.model_copy(update={**more, "by_cpu": {**doubt.by_cpu, **more["by_cpu"]}})
    assert f": {half}; quarter {times(by_cpu)} by" in tell(grouped, ranking, Messages())


def test_cpu_time_stands_in_each_row_and_agrees_where_nothing_disturbs() -> None:
    ranking = cpu_case(0.0)
    assert not [one for one in ranking.warnings if isinstance(one, CpuDisagrees)]
    row = ranking.row("half")
    assert row.cpu_ms is not None
    assert row.cpu_ms.estimate == pytest.approx(5, rel=0.01)
    assert row.cpu_ms.low < 5 < row.cpu_ms.high


def test_without_cpu_times_none_are_shown() -> None:
    rng = np.random.default_rng(1)
    ranking = measured_under(drift(rng), {"baseline": 8, "half": 8}, rng)
    assert {row.cpu_ms for row in ranking.rows} == {None}
