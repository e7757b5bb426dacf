"""Variants in other runtimes: known truth in, comparisons and the answer's sentence out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from prunebench.common.records import InRuntime, Parity, Verdict
from prunebench.config.ranking import RankingConfig
from prunebench.results.messages.catalogue import Messages, languages
from prunebench.results.messages.runtimes import tell_runtimes
from prunebench.results.ranking.measured import MeasuredElsewhere, MeasuredVariant
from prunebench.results.ranking.rank import rank
from prunebench.results.ranking.records import FailedVariant, Ranking

CONFIG = RankingConfig(bootstrap=400)
RNG = np.random.default_rng(0)
DRAWS = RNG.normal(0, 0.01, CONFIG.bootstrap)
PARITY = Parity(
    images=4, max_box_px=0.1, max_score=0.001, box_tolerance_px=0.5, score_tolerance=0.005
)


def measured(
    name: str, ms: float, map50: float = 0.8, parent: str | None = "baseline", mb: float = 12
) -> MeasuredVariant:
    verdict: Verdict = "unpruned" if name.startswith("baseline") else "pruned"
    rounds = {n: ms * float(np.exp(RNG.normal(0, 0.003))) for n in range(12)}
    return MeasuredVariant(
        name=name,
        parent=parent,
        verdict=verdict,
        network=name,
        size_mb=mb,
        map50=map50,
        map50_draws=map50 + DRAWS + RNG.normal(0, 0.002, CONFIG.bootstrap),
        images=100,
        latency_ms={1: rounds},
        end_to_end_ms={1: rounds},
    )


def elsewhere(
    name: str, of: str, ms: float, map50: float = 0.8, share: float = 1.0, runtime: str = "openvino"
) -> MeasuredElsewhere:
    found = InRuntime(name=runtime, version="openvino 1", precision="float32")
    one = measured(f"{of}-{name}", ms, map50, parent=of)
    return MeasuredElsewhere(measured=one, runtime=found, parity=PARITY, cpu_share={1: share})


def ranked(
    *others: MeasuredElsewhere,
    failed: Mapping[str, str] | None = None,
    int8: float | None = None,
) -> Ranking:
    rows = [measured("baseline", 20, parent=None), measured("pruned", 10, 0.79)]
    if int8 is not None:
        rows.append(replace(measured("baseline-int8", int8), quantized=True))
    failures = [
        FailedVariant(name=name, step="parity", reason=why) for name, why in (failed or {}).items()
    ]
    return rank(rows, config=CONFIG, threads=1, in_runtimes=others, failures_elsewhere=failures)


def test_a_runtime_is_compared_with_every_variant_and_changes_no_rank() -> None:
    found = ranked(elsewhere("ov", "baseline", 15), elsewhere("ov", "pruned", 7, 0.79))
    fast, slow = found.elsewhere
    assert (fast.name, slow.name) == ("pruned-ov", "baseline-ov")
    assert slow.times_own.estimate == pytest.approx(20 / 15, rel=0.01)
    assert slow.times_own.low < 20 / 15 < slow.times_own.high
    assert fast.times_own.estimate == pytest.approx(10 / 7, rel=0.01)
    assert fast.times_baseline is not None
    assert fast.times_baseline.estimate == pytest.approx(20 / 7, rel=0.01)
    assert (slow.faster_than, slow.slower_than) == (("baseline",), ("pruned",))
    assert (fast.faster_than, fast.slower_than) == (("baseline", "pruned"), ())
    assert (fast.less_accurate_than, slow.less_accurate_than) == (("baseline",), ())
    assert {row.name: row.label for row in found.rows} == {"pruned": "1", "baseline": "2"}


def test_the_answer_says_that_a_runtime_beats_pruning_or_does_not() -> None:
    m = Messages()
    told = tell_runtimes(ranked(elsewhere("ov", "baseline", 8)), m)
    assert told is not None
    assert told.startswith(
        "The runtime matters more than pruning here: baseline in OpenVINO (float32) is faster than "
        "every float variant in onnxruntime, at 2.5"
    )
    assert "in mAP50 it cannot be told apart from itself in onnxruntime (" in told
    both = elsewhere("ov", "baseline", 15), elsewhere("ov", "pruned", 7, 0.79)
    told = tell_runtimes(ranked(*both), m)
    assert told is not None
    assert "is not shown to be faster than pruned there" in told
    assert "with pruning as well, pruned-ov is at 2.8" in told


def test_who_loses_accuracy_silently_is_told_and_one_who_does_not_goes_first() -> None:
    m = Messages()
    lossy = elsewhere("fast", "baseline", 8, 0.7, runtime="openvino-default")
    (row,) = ranked(lossy).elsewhere
    assert row.less_accurate_than == ("baseline", "pruned")
    told = tell_runtimes(ranked(lossy), m)
    assert told is not None
    assert "it is shown to lose mAP50 against itself in onnxruntime (-0.100 [" in told
    told = tell_runtimes(ranked(lossy, elsewhere("ov", "baseline", 15)), m)
    assert told is not None
    assert "OpenVINO (float32)" in told


def test_a_runtime_with_threads_of_its_own_is_not_compared() -> None:
    found = ranked(elsewhere("ov", "baseline", 15, share=1.9), failed={"pruned-ov": "apart"})
    assert found.elsewhere == ()
    reasons = {one.name: one.reason for one in found.failures_elsewhere}
    assert reasons["pruned-ov"] == "apart"
    assert "not held to the threads asked for, 1" in reasons["baseline-ov"]
    for lang in languages():
        assert tell_runtimes(found, Messages(lang)) == Messages(lang)("runtimes.none") + "."


def by_nncf(ms: float, map50: float = 0.8) -> MeasuredElsewhere:
    one = elsewhere("openvino-nncf", "baseline", ms, map50, runtime="openvino-nncf")
    return replace(one, measured=replace(one.measured, quantized=True))


def test_what_another_puts_on_integers_is_held_against_int8_files_and_no_answer_for_float() -> None:
    m = Messages()
    told = tell_runtimes(ranked(by_nncf(8, 0.7)), m)
    assert told is not None
    assert told.startswith("baseline in OpenVINO through NNCF (INT8) is at 2.5")
    assert "of its FPS in onnxruntime; it is shown to lose mAP50 against itself" in told
    told = tell_runtimes(ranked(elsewhere("ov", "baseline", 15), by_nncf(8), int8=5), m)
    assert told is not None
    assert told.startswith("The runtime does not replace pruning here: baseline in OpenVINO (float")
    assert "and is not shown to be faster than baseline-int8 there" in told
    told = tell_runtimes(ranked(by_nncf(8), int8=12), m)
    assert told is not None
    assert "of its FPS in onnxruntime and faster than every INT8 variant there" in told


def test_without_runtimes_nothing_is_told() -> None:
    assert tell_runtimes(ranked(), Messages()) is None
