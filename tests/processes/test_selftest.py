"""The selftest: a real one on a tiny model, and its statistics on noise of a known size."""

from __future__ import annotations

import io
import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from latency_kit import write_detector
from onnx import TensorProto, helper, save
from rich.console import Console
from scipy import stats
from typer.testing import CliRunner

from prunebench.cli import app
from prunebench.cli.views.selftest import selftest_view
from prunebench.common.errors import CheckpointError
from prunebench.common.records import FileRef
from prunebench.common.statistics import locate, rounds_to_settle
from prunebench.config.sections import LatencyConfig
from prunebench.measuring import selftest as module
from prunebench.measuring import selftest_verdict
from prunebench.measuring.latency.child import _slowed
from prunebench.measuring.latency.raw import Disturbed, Noise
from prunebench.measuring.latency.records import LatencyResult
from prunebench.measuring.selftest import selftest
from prunebench.measuring.selftest_verdict import Copies, SelfTest, judge_copies, resampled_alarms
from prunebench.steps.events import Event

TINY = LatencyConfig(threads=(1,), rounds_min=3, rounds_max=3, seconds=0.03, warmup=1)
DEFAULT = LatencyConfig(threads=(1,))
FACTOR = 5.0


@pytest.fixture(autouse=True)
def _fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest_verdict, "RESAMPLED", 200)


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> tuple[SelfTest, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("selftest")
    target = write_detector(folder / "detector.onnx", depth=6)
    events: list[Event] = []
    with pytest.MonkeyPatch.context() as patch:
        # A real measurement on this host must not make the tests wait.
        patch.setattr(tempfile, "tempdir", str(folder))
        result = selftest(
            target.onnx,
            TINY,
            folder / "work",
            repetitions=1,
            slowdowns=(FACTOR,),
            on_event=events.append,
        )
    return result, events


def test_a_true_slowdown_is_measured_as_it_is(
    tested: tuple[SelfTest, list[dict[str, Any]]],
) -> None:
    result, events = tested
    equal, slowed = result.repetitions[0].comparisons
    assert (equal.slowdown, slowed.slowdown) == (1, FACTOR)
    # On a busy host the longer inferences are interrupted more often.
    assert slowed.ratio.estimate > FACTOR / 2
    assert slowed.ratio.estimate > 2 * equal.ratio.estimate
    assert equal.rounds == slowed.rounds == 3
    assert result.overhead > 1
    # 3 rounds of the sentinel and 3 copies.
    assert sum(event.kind == "timed" for event in events) == 12
    assert {e.variant for e in events if e.kind == "timed"} >= {"a", "a again", "a x 5"}


def test_a_slowed_inference_takes_the_factor_and_hardly_more() -> None:
    image = np.zeros((1, 3, 8, 8), dtype=np.float32)
    own, whole = [], []

    def infer(_: object) -> list[Any]:
        began = time.perf_counter()
        while time.perf_counter() < began + 0.002:
            pass
        own.append(time.perf_counter() - began)
        return []

    slowed = _slowed(infer, 1.05)
    for _ in range(50):
        began = time.perf_counter()
        slowed(image)
        whole.append(time.perf_counter() - began)
    factors = np.array(whole) / np.array(own)
    assert factors.min() >= 1.05
    # A busy host lengthens many of the calls, not all.
    assert factors.min() == pytest.approx(1.05, rel=0.003)


def test_the_view_and_the_json_tell_it(
    tested: tuple[SelfTest, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    result, _ = tested
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(selftest_view(result))
    text = console.export_text()
    assert "none (A/A)" in text
    assert "400.0% slower" in text
    assert "Smallest difference found 9 times in 10" in text
    monkeypatch.setattr(module, "selftest", lambda *args, **settings: result)
    printed = CliRunner().invoke(app, ["selftest", "--quick", "--json"])
    assert SelfTest.model_validate(json.loads(printed.stdout)) == result


def test_a_file_that_cannot_be_measured_is_refused_first(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="the file does not exist"):
        selftest(tmp_path / "none.onnx", TINY, tmp_path / "work")
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3, 8, 8]) for name in "xy"
    ]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", ends[:1], ends[1:])
    save(helper.make_model(graph), tmp_path / "dynamic.onnx")
    with pytest.raises(CheckpointError, match="not one float32 image of a fixed shape"):
        selftest(tmp_path / "dynamic.onnx", TINY, tmp_path / "work")
    assert not (tmp_path / "work").exists()


def measured_with(
    host: SelfTest, spread: float, count: int, *, noise: tuple[Noise, ...] = ()
) -> Any:
    """Repetitions of 8 rounds whose log ratios vary by ``spread`` around the truth."""
    rng = np.random.default_rng(7)
    result = LatencyResult(
        settings=DEFAULT,
        realtime_fps=20.0,
        imgsz=(32, 32),
        nc=1,
        seed=0,
        fingerprint=host.host,
        threads=(1,),
        variants={},
        failures={},
        kind="model",
        rounds=8,
        stopped="settled",
        pairs=(),
        wall_s=30.0,
        asked_s=20.0,
        load_average=(0.0, 0.0, 0.0),
        sentinel=None,
        noise=noise,
        samples=FileRef(path="samples.jsonl", sha256="", bytes=0),
    )
    factors = (1.0, 1.03, 1.05)
    return [
        Copies(tuple(math.log(f) + rng.normal(0, spread, 8) for f in factors), result, 10.0)
        for _ in range(count)
    ], factors


def test_a_quiet_host_is_trusted(tested: tuple[SelfTest, list[dict[str, Any]]]) -> None:
    measured, factors = measured_with(tested[0], 0.005, 10)
    result = judge_copies("m", measured, factors, np.random.default_rng(0))
    assert result.doubts == ()
    assert result.overhead == pytest.approx(1.5)
    assert [v.significant for v in result.verdicts[1:]] == [10, 10]
    # Clopper and Pearson: the lower end for 10 of 10 at 95 %.
    assert result.verdicts[1].share.low == pytest.approx(0.025 ** (1 / 10))
    assert result.false_alarms.resampled <= 0.05
    assert result.verdicts[2].resampled >= 0.99
    # 8 rounds, one trimmed at each end: 5 degrees of freedom, 5 looks.
    t = stats.t.ppf(1 - 0.005, 5) + stats.t.ppf(0.9, 5)
    rough = 100 * t * 0.005 / math.sqrt(8)
    assert result.detectable_soon_percent == pytest.approx(rough, rel=0.25)
    assert result.detectable_percent < result.detectable_soon_percent / 2


BUSY = Disturbed(kind="busy", hit=4, runs=16, worst=0.5, limit=0.1)


def test_a_noisy_host_is_said_to_be_one(tested: tuple[SelfTest, list[dict[str, Any]]]) -> None:
    measured, factors = measured_with(tested[0], 0.15, 4, noise=(BUSY,))
    result = judge_copies("m", measured, factors, np.random.default_rng(0))
    assert result.detectable_percent > 3
    assert result.doubts[0].startswith("The host is too noisy: in 40 rounds only differences of")
    assert result.doubts[-1] == "4 of 4 measurements were noisy."
    assert result.verdicts[1].resampled < 0.5
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(selftest_view(result))
    said = "other processes kept CPUs busy in 4 of 16 child runs"
    assert f"Seen while measuring: {said}" in console.export_text()


def test_too_many_false_alarms_are_a_doubt(tested: tuple[SelfTest, list[dict[str, Any]]]) -> None:
    measured, factors = measured_with(tested[0], 0.002, 5)
    apart = [c._replace(logs=(c.logs[0] + 0.02, *c.logs[1:])) for c in measured]
    result = judge_copies("m", apart, factors, np.random.default_rng(0))
    assert result.false_alarms.significant == 5
    (doubt,) = result.doubts
    assert doubt.startswith("Equal copies were called different in 5 of 5 measurements")


def test_resampled_measurements_err_as_often_as_promised() -> None:
    rng = np.random.default_rng(3)
    # Twenty to one bad rounds, as other processes cause them.
    equal = rng.normal(0, 0.01, 80) + (rng.random(80) < 0.05) * 0.2
    assert np.mean([*resampled_alarms(equal, 0.0, DEFAULT, 5, rng)]) < 0.05
    assert np.mean([*resampled_alarms(equal, math.log(1.05), DEFAULT, 5, rng)]) > 0.9


@pytest.mark.parametrize("rounds", [8, 12, 40])
def test_what_is_detectable_is_what_the_ranking_would_settle(rounds: int) -> None:
    equal = locate(np.random.default_rng(rounds).normal(0, 0.01, rounds))
    found = math.expm1(equal.detectable(rounds, 0.99))
    assert rounds_to_settle(equal, found * 1.001, level=0.99) == 0
    more = rounds_to_settle(equal, found * 0.98, level=0.99)
    assert more is not None
    assert more > 0
