"""The loop over rounds, with children that answer at once from made-up latencies."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from latency_kit import sample

from prunebench.common.errors import ChildFailed
from prunebench.common.records import sha256_of
from prunebench.config.sections import LatencyConfig
from prunebench.measuring.latency import measure as module
from prunebench.measuring.latency import rounds
from prunebench.measuring.latency.measure import Target, measure
from prunebench.measuring.latency.raw import SENTINEL
from prunebench.measuring.latency.records import LatencyResult
from prunebench.measuring.latency.together import Lane, Raw
from prunebench.steps.events import Event

OF_PARENT = {"round", "position", "variant", "threads", "started_s", "process_s", "elapsed_s"}


class Host:
    """Answers for the measuring children: true latencies in ms, and how far rounds vary."""

    def __init__(self, latencies: dict[str, float], spread: float) -> None:
        self.latencies = {SENTINEL: 3.0, **latencies}
        self.spread = spread
        self.rng = np.random.default_rng(0)

    def __call__(self, lanes: Sequence[Lane], *_: object) -> list[Raw]:
        return [self.answer(lane.variant) for lane in lanes]

    def answer(self, variant: str) -> Raw:
        ms = self.latencies[variant] * float(np.exp(self.rng.normal(0, self.spread)))
        return Raw({k: v for k, v in vars(sample(ms=ms)).items() if k not in OF_PARENT}, 0.0, 0.0)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(module, "load_before_start", list)

    def run(
        latencies: dict[str, float], *, spread: float = 0.01, **settings: Any
    ) -> tuple[LatencyResult, Counter[str]]:
        monkeypatch.setattr(rounds, "measure_together", Host(latencies, spread))
        targets = []
        for name in latencies:
            path = tmp_path / f"{name}.onnx"
            path.write_text(name)
            targets.append(Target(name, path, sha256_of(path)))
        events: list[Event] = []
        asked = {"contested": settings.pop("contested", None)}
        config = LatencyConfig(**{"threads": (1,), **settings})
        result = measure(
            targets,
            [],
            config,
            realtime_fps=20,
            imgsz=(64, 96),
            nc=3,
            seed=0,
            folder=tmp_path / "run",
            on_event=events.append,
            **asked,
        )
        return result, Counter(event.variant for event in events)

    return run


def test_clear_differences_stop_after_the_minimum(run: Any) -> None:
    result, runs = run({"a": 10.0, "b": 12.0, "c": 15.0})
    assert result.stopped == "settled"
    assert result.rounds == 8
    assert runs == {SENTINEL: 8, "a": 8, "b": 8, "c": 8}
    assert {pair.state for pair in result.pairs} == {"told apart"}


def test_only_contested_variants_go_on_and_in_every_fourth_round_all(
    run: Any,
) -> None:
    result, runs = run({"a": 10.0, "twin": 10.0, "slow": 20.0}, spread=0.018)
    assert result.stopped == "settled"
    assert result.rounds > 8
    assert runs["slow"] == 8 + (result.rounds - 8) // 4
    assert runs["a"] == runs["twin"] == runs[SENTINEL] == result.rounds
    states = {(pair.first, pair.second): pair.state for pair in result.pairs}
    assert states == {
        ("a", "twin"): "tie",
        ("a", "slow"): "told apart",
        ("twin", "slow"): "told apart",
    }


def test_a_host_too_noisy_ends_at_the_most_rounds(run: Any) -> None:
    result, _ = run({"a": 10.0, "twin": 10.0}, spread=0.3, rounds_max=14)
    assert (result.stopped, result.rounds) == ("rounds", 14)
    assert [pair.state for pair in result.pairs] == ["open"]


def test_the_budget_ends_it_but_not_before_the_minimum(run: Any) -> None:
    result, _ = run({"a": 10.0, "twin": 10.0}, spread=0.3, budget_minutes=1e-9)
    assert (result.stopped, result.rounds) == ("budget", 8)


def test_pairs_nobody_asks_for_do_not_go_on(run: Any) -> None:
    result, _ = run({"a": 10.0, "twin": 10.0}, spread=0.1, contested=lambda a, b: False)
    assert (result.stopped, result.rounds) == ("settled", 8)
    assert [pair.state for pair in result.pairs] == ["not asked"]


def test_each_thread_count_is_its_own_column(run: Any) -> None:
    result, runs = run({"a": 10.0, "b": 12.0}, threads=(1, 2))
    assert result.threads == (1, 2)
    assert [pair.threads for pair in result.pairs] == [1, 2]
    assert runs == {SENTINEL: 8, "a": 16, "b": 16}


def test_an_interrupted_child_ends_the_measurement(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: Host, *args: object, **kwargs: object) -> None:
        raise ChildFailed("latency", "ended by SIGTERM", returncode=-15, variant="a")

    monkeypatch.setattr(Host, "__call__", interrupted)
    with pytest.raises(ChildFailed, match="SIGTERM"):
        run({"a": 10.0, "b": 12.0})
