"""Ranking with ties: known truth in, dominance, fronts, advice and sentences out."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prunebench.common.records import Grounds, Interval, Verdict
from prunebench.common.statistics import locate
from prunebench.common.text import percent, points
from prunebench.config.ranking import RankingConfig
from prunebench.config.sections import Control
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.sentences import Fact, tell
from prunebench.results.ranking.doubts import (
    Altered,
    FewFrames,
    FewImages,
    Letterbox,
    LetterboxCosts,
    MeasuredApart,
    Restored,
    SameNetwork,
)
from prunebench.results.ranking.measured import MeasuredVariant
from prunebench.results.ranking.rank import rank
from prunebench.results.ranking.records import FailedVariant, Ranking, Shown
from prunebench.results.report.numbers import with_interval
from prunebench.results.table.ranked import rank as rank_table
from prunebench.results.table.run_table import RunTable

CONFIG = RankingConfig(bootstrap=400)
ROUNDS = 12
MOVED = Grounds(kind="other_layers", classes=7, parent_classes=7, parent_parameters=2_000_000)


class Lab:
    """Variants with a known truth, measured in the same rounds and on the same images."""

    def __init__(self, seed: int = 0, *, noise: float = 0.005, map50_noise: float = 0.006) -> None:
        self.rng = np.random.default_rng(seed)
        self.noise = noise
        self.map50_noise = map50_noise
        self.drift = self.rng.normal(0, 0.1, ROUNDS)
        self.shared = self.rng.normal(0, 0.02, CONFIG.bootstrap)
        self.measured: list[MeasuredVariant] = []

    def add(
        self,
        name: str,
        *,
        ms: float = 10.0,
        map50: float = 0.85,
        size_mb: float = 6.0,
        parent: str | None = "baseline",
        strategy: str | None = None,
        network: str | None = None,
        verdict: Verdict = "pruned",
        realtime: Mapping[int, Shown] | None = None,
        rounds: Sequence[int] = range(ROUNDS),
        images: int = 100,
        control: Control | None = None,
        rss_mb: float | None = None,
    ) -> Lab:
        """Add a variant whose frame takes ``ms`` + 2 milliseconds."""
        own = self.rng.normal(0, self.map50_noise, CONFIG.bootstrap)
        self.measured.append(
            MeasuredVariant(
                name=name,
                parent=parent,
                strategy=strategy,
                parameters=int(size_mb * 5e5),
                verdict=verdict,
                grounds=MOVED,
                network=network or name,
                size_mb=size_mb,
                map50=map50,
                map50_draws=np.clip(map50 + self.shared + own, 0, 1),
                images=images,
                latency_ms={1: self._rounds(ms, rounds)},
                end_to_end_ms={1: self._rounds(ms + 2, rounds)},
                realtime=realtime or {},
                control=control,
                rss_mb={} if rss_mb is None else {1: self._rounds(rss_mb, rounds)},
            )
        )
        return self

    def rank(self, **options: Any) -> Ranking:
        """Rank what was added."""
        return rank(self.measured, config=options.pop("config", CONFIG), threads=1, **options)

    def _rounds(self, ms: float, rounds: Sequence[int]) -> dict[int, float]:
        noise = self.rng.normal(0, self.noise, ROUNDS)
        return {r: float(ms * np.exp(self.drift[r] + noise[r])) for r in rounds}


def told(fact: Fact, ranking: Ranking) -> str:
    return tell(fact, ranking, Messages())


def labels(ranking: Ranking) -> dict[str, str]:
    return {row.name: row.label for row in ranking.rows}


def test_ranks_read_1_2_tied_2_tied_4() -> None:
    ranking = (
        Lab()
        .add("fast", ms=6)
        .add("twin-a", ms=10)
        .add("twin-b", ms=10)
        .add("slow", ms=16, parent=None)
        .rank()
    )
    assert labels(ranking) == {"fast": "1", "twin-a": "2=", "twin-b": "2=", "slow": "4"}
    assert ranking.row("twin-a").tied_with == ("twin-b",)
    assert ranking.rows[0].tied_with == ()


def test_efficiency_ratio_and_fps_are_the_formulas_of_their_columns() -> None:
    lab = Lab(noise=0.0).add("only", ms=38, map50=0.86, size_mb=5.8, parent=None)
    row = lab.rank().row("only")
    frames = np.log(list(lab.measured[0].end_to_end_ms[1].values()))
    fps = 1000 / np.exp(locate(frames).centre)
    assert row.fps.estimate == pytest.approx(fps)
    assert row.efficiency.estimate == pytest.approx(0.86 * fps / 5.8)
    assert row.map50_per_fps == pytest.approx(0.86 / fps)
    assert row.label == "1"


def test_intervals_hold_the_truth_and_the_efficiency_carries_both_sources() -> None:
    ranking = Lab(3).add("a", ms=8).add("b", ms=8.8, parent=None).rank()
    speed = ranking.difference("speed", "a", "b")
    assert speed.interval is not None
    assert speed.interval.low < 8.0 < speed.interval.high
    assert (speed.first, speed.significant, speed.rounds) == ("a", True, ROUNDS)
    row = ranking.row("a")
    relative = [(i.high - i.low) / i.estimate for i in (row.efficiency, row.map50, row.fps)]
    assert relative[0] > max(relative[1:])
    assert relative[0] < sum(relative[1:])


def test_sentences_of_a_difference_and_of_a_tie() -> None:
    ranking = Lab(1, noise=0.02).add("a", ms=8).add("b", ms=12).add("c", ms=12, parent=None).rank()
    shown = ranking.difference("latency", "a", "b")
    assert shown.interval is not None
    assert told(shown, ranking) == f"a is faster (model only) than b by {percent(shown.interval)}."
    tie = ranking.difference("latency", "c", "b")
    assert not tie.significant
    assert "cannot be told apart in model latency (difference +" in told(tie, ranking)
    assert tie.more_rounds is not None
    assert f"; {tie.more_rounds} more rounds would settle {tie.settles_percent:g} %." in (
        told(tie, ranking)
    )


@pytest.mark.parametrize(
    ("interval", "signed", "text"),
    [
        (Interval(estimate=38.2, low=36.1, high=41.4), False, "38 % [36, 41]"),
        (Interval(estimate=-0.4, low=-1.9, high=1.1), True, "-0.4 % [-1.9, +1.1]"),
        (Interval(estimate=12.31, low=12.26, high=12.36), False, "12.31 % [12.26, 12.36]"),
        (Interval(estimate=426, low=314, high=501), True, "\N{MULTIPLICATION SIGN}5.3 [4.1, 6.0]"),
        (
            Interval(estimate=17248, low=16029, high=20993),
            False,
            "\N{MULTIPLICATION SIGN}173 [161, 211]",
        ),
    ],
)
def test_percent(interval: Interval, signed: bool, text: str) -> None:
    assert percent(interval, signed=signed) == text


def test_nothing_has_no_sign() -> None:
    nothing = Interval(estimate=-1e-9, low=-2e-9, high=1e-9)
    assert points(nothing, signed=True) == "+0.000 [+0.000, +0.000]"
    assert points(nothing) == with_interval(nothing, digits=3) == "0.000 [0.000, 0.000]"


def test_one_network_is_never_told_apart_in_speed_however_it_measured() -> None:
    """The reference report's mistake: one network, four speeds, four ranks."""
    lab = Lab(network_noise := 4)
    for index, ms in enumerate((60.6, 64.5, 49.8, 63.7), start=network_noise):
        lab.add(f"model-{index}", ms=ms, network="yolov8n", parent=None)
    ranking = lab.rank()
    speeds = [d for d in ranking.differences if d.metric in ("speed", "latency")]
    assert not any(d.significant for d in speeds)
    assert all(d.same_network and "same network" in told(d, ranking) for d in speeds)
    assert set(labels(ranking).values()) == {"1="}
    same, *apart = ranking.warnings
    assert same == SameNetwork(names=tuple(v.name for v in lab.measured))
    assert told(same, ranking).endswith("cannot come from the models.")
    assert {one.faster for one in apart if isinstance(one, MeasuredApart)} >= {"model-6"}
    assert any("yet model-6 measured faster by " in told(one, ranking) for one in apart)


def test_one_network_is_told_apart_in_efficiency_by_its_accuracy() -> None:
    lab = Lab().add("good", map50=0.9, network="n").add("bad", map50=0.6, network="n", parent=None)
    assert labels(lab.rank()) == {"good": "1", "bad": "2"}


def test_equal_variants_are_rarely_declared_different() -> None:
    """Equal variants: at most 5 % of the runs may declare any difference in a metric."""
    config = RankingConfig(bootstrap=200)
    false = dict.fromkeys(("speed", "efficiency"), 0)
    runs = 40
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        lab = Lab(seed, noise=0.01)
        for index in range(4):
            lab.add(f"v{index}", parent=None if index == 0 else "v0")
            draws = rng.normal(0.85, 0.02, 200)
            object.__setattr__(lab.measured[-1], "map50_draws", draws)
        ranking = lab.rank(config=config)
        for metric in false:
            false[metric] += any(d.significant for d in ranking.differences if d.metric == metric)
    # 40 runs at 5 %: 6 or more happen by chance in 1 of 70 tests; the seeds are fixed.
    assert max(false.values()) <= 5


def test_a_difference_of_three_percent_is_found_among_six() -> None:
    lab = Lab(11)
    for index in range(5):
        lab.add(f"v{index}", parent=None if index == 0 else "v0")
    lab.add("faster", ms=12 / 1.03 - 2)
    ranking = lab.rank()
    assert all(ranking.difference("speed", "faster", f"v{i}").significant for i in range(5))


def test_looks_make_it_harder_to_be_told_apart() -> None:
    lab = Lab(5, noise=0.01).add("a", ms=10).add("b", ms=10.3, parent=None)
    once, often = lab.rank(), lab.rank(interim_looks=5)
    before, after = (r.difference("latency", "a", "b") for r in (once, often))
    assert after.p == before.p
    assert after.p_corrected == pytest.approx(min(1, 5 * before.p_corrected))
    accuracy = [r.difference("accuracy", "a", "b").p_corrected for r in (once, often)]
    assert accuracy[0] == accuracy[1]


def test_rounds_are_paired_although_variants_have_different_ones() -> None:
    lab = Lab(6).add("long", ms=10).add("short", ms=10.6, rounds=range(0, 8), parent=None)
    difference = lab.rank().difference("speed", "long", "short")
    assert difference.rounds == 8
    assert difference.significant


def test_too_few_shared_rounds_are_no_evidence() -> None:
    lab = (
        Lab(7).add("a", ms=5, rounds=range(0, 6)).add("b", ms=50, rounds=range(6, 12), parent=None)
    )
    ranking = lab.rank()
    difference = ranking.difference("speed", "a", "b")
    assert difference.interval is None
    assert told(difference, ranking).endswith("they share only 0 rounds.")
    assert set(labels(ranking).values()) == {"1="}


def test_unmeasured_and_failed_variants_are_listed_with_their_reasons() -> None:
    lab = Lab().add("a", parent=None).add("b", rounds=range(2))
    failed = FailedVariant(name="c", step="export", reason="the ONNX file computes something else")
    ranking = lab.rank(failures=[failed])
    assert [row.name for row in ranking.rows] == ["a"]
    assert ranking.failures[0] == failed
    assert ranking.failures[1].name == "b"
    assert ranking.failures[1].reason.startswith("2 rounds were measured with 1 threads")


def test_nothing_measured_is_an_empty_ranking() -> None:
    ranking = rank([], config=CONFIG, threads=1)
    assert (ranking.rows, ranking.advice, ranking.warnings) == ((), (), ())


def test_different_images_are_refused() -> None:
    lab = Lab().add("a", parent=None).add("b", images=99)
    with pytest.raises(ValueError, match="different images"):
        lab.rank()


def test_few_images_show_no_difference_in_accuracy() -> None:
    lab = Lab().add("a", map50=0.9, images=6, parent=None).add("b", map50=0.5, images=6)
    ranking = lab.rank()
    assert not ranking.difference("accuracy", "a", "b").significant
    assert ranking.warnings == (FewImages(images=6, needed=20),)
    assert told(ranking.warnings[0], ranking).startswith("Accuracy rests on 6 images")


def test_a_useless_variant_has_efficiency_zero_and_the_last_rank() -> None:
    lab = Lab().add("a", parent=None)
    lab.add("dead", map50=0.0)
    object.__setattr__(lab.measured[-1], "map50_draws", np.zeros(CONFIG.bootstrap))
    ranking = lab.rank()
    assert ranking.row("dead").efficiency.estimate == 0
    assert labels(ranking) == {"a": "1", "dead": "2"}


def finding(map50: Mapping[str, float]) -> Ranking:
    """A family of one network where each variant finds that much in every resample."""
    lab = Lab()
    for name, found in map50.items():
        parent, strategy = (None if name == "a" else "a"), ("standard" if name == "c" else None)
        lab.add(name, ms=20 - 4 * len(lab.measured), map50=found, parent=parent, strategy=strategy)
        object.__setattr__(lab.measured[-1], "map50_draws", np.full(CONFIG.bootstrap, found))
    return lab.rank()


def test_beside_a_baseline_that_finds_nothing_nothing_is_recommended() -> None:
    ranking = finding({"a": 0.0, "b": 0.0, "c": 0.0})
    assert ranking.advice == ()
    assert told(ranking.warnings[0], ranking).startswith(
        "a finds next to nothing (mAP50 0.000, below 0.05), so nothing is recommended"
    )
    for pair in (("a", "b"), ("a", "c"), ("b", "c")):
        efficiency = ranking.difference("efficiency", *pair)
        assert (efficiency.interval, efficiency.significant) == (None, False)
        assert ranking.difference("speed", *pair).interval is not None
        assert "an mAP50 of theirs may be 0" in told(efficiency, ranking)
    assert labels(ranking) == {"a": "1=", "b": "1=", "c": "1="}
    effect = ranking.effects[0]
    assert (effect.accuracy.percent, effect.efficiency.percent) == (None, None)
    assert "efficiency without a ratio, as an mAP50 may be 0" in told(effect, ranking)


@pytest.mark.parametrize(("map50", "nothing"), [(0.049, True), (0.05, False), (0.051, False)])
def test_the_floor_of_a_baseline_is_five_points(map50: float, nothing: bool) -> None:
    ranking = finding({"a": map50, "b": map50})
    kinds = [warning.kind for warning in ranking.warnings]
    assert ("finds_nothing" in kinds, ranking.advice == ()) == (nothing, nothing)


def test_a_ratio_needs_both_ends() -> None:
    ranking = finding({"a": 0.8, "b": 0.7, "c": 0.0})
    assert ranking.difference("efficiency", "a", "b").interval is not None
    dead = ranking.difference("efficiency", "b", "c")
    assert (dead.interval, dead.significant, dead.first) == (None, True, "b")
    assert told(dead, ranking) == "b is better than c in efficiency, whose mAP50 may be 0."
    assert {advice.recommended for advice in ranking.advice} <= {"a", "b"}


def test_no_variant_may_lose_more_than_half_of_what_the_baseline_finds() -> None:
    ranking = finding({"a": 0.08, "b": 0.05, "c": 0.035})
    kept = {row.name: row.keeps_accuracy for row in ranking.rows}
    assert (kept["b"], kept["c"]) == ("yes", "no")


def test_pareto_front_knows_certain_possible_and_no() -> None:
    ranking = (
        Lab(10)
        .add("fast", ms=5, map50=0.7)
        .add("accurate", ms=14, map50=0.9, parent=None)
        .add("tied", ms=14, map50=0.9)
        .add("dominated", ms=16, map50=0.6)
        .rank()
    )
    front = {row.name: row.pareto for row in ranking.rows}
    assert front == {
        "fast": "certain",
        "accurate": "possible",
        "tied": "possible",
        "dominated": "no",
    }


def test_less_accurate_with_the_same_network_is_off_the_front() -> None:
    lab = Lab().add("good", map50=0.9, network="n").add("bad", map50=0.6, network="n", parent=None)
    assert lab.rank().row("bad").pareto == "no"


def test_realtime_is_the_paced_verdict_else_the_interval() -> None:
    lab = (
        Lab()
        .add("paced", ms=5, realtime={1: "not shown"}, parent=None)
        .add("fast", ms=5)
        .add("slow", ms=100)
        .add("edge", ms=48)
    )
    ranking = lab.rank()
    verdicts = {row.name: row.realtime for row in ranking.rows}
    assert verdicts == {"paced": "not shown", "fast": "yes", "slow": "no", "edge": "not shown"}


def test_too_few_paced_frames_are_the_reason_that_no_verdict_is_shown() -> None:
    lab = Lab().add("baseline", parent=None).add("few").add("many")
    assert not [one for one in lab.rank().warnings if isinstance(one, FewFrames)]
    lab.measured[1] = replace(lab.measured[1], few_frames={1: 40})
    ranking = lab.rank()
    (doubt,) = [one for one in ranking.warnings if isinstance(one, FewFrames)]
    # The largest of 72 values lies beyond the 95th percentile with a chance of 1 - 0.95^72 > 0.975.
    assert doubt == FewFrames(names=("few",), frames=40, needed=72)
    told = tell(doubt, ranking, Messages())
    assert told.startswith("Whether 20 FPS are kept is not shown for few: 40 paced frames are")


def test_memory_limit_has_three_answers_and_only_what_is_shown_to_keep_it_is_advised() -> None:
    lab = Lab(noise=0.01).add("baseline", ms=5, map50=0.9, parent=None, rss_mb=140)
    lab.drift = np.zeros(ROUNDS)
    lab.add("small", ms=10, rss_mb=60).add("edge", ms=4, rss_mb=100).add("unknown", ms=4)
    limited = CONFIG.model_copy(update={"max_rss_mb": 100.0, "max_map50_loss": 0.2})
    ranking = lab.rank(config=limited)
    kept = {row.name: row.keeps_memory for row in ranking.rows}
    assert kept == {"baseline": "no", "small": "yes", "edge": "not shown", "unknown": "not shown"}
    assert {advice.recommended for advice in ranking.advice} == {"small"}
    assert {row.keeps_memory for row in lab.rank().rows} == {None}
    none = lab.rank(config=limited.model_copy(update={"max_rss_mb": 59.0, "max_map50_loss": 0.2}))
    assert [told(advice, none) for advice in none.advice] == [
        "Real-time first: no variant that keeps its accuracy is shown to keep 20 FPS and to stay "
        "within 59 MB of memory; it is not shown either way for unknown.",
        "Balance of accuracy, speed and size: no variant that keeps its accuracy is shown to keep "
        "20 FPS and to stay within 59 MB of memory; it is not shown either way for unknown.",
        "Accuracy first: no variant that keeps its accuracy is shown to stay within 59 MB of "
        "memory; it is not shown either way for unknown.",
    ]


def test_a_confounded_variant_that_alone_keeps_the_memory_is_said_to_be_alone() -> None:
    lab = Lab().add("baseline", map50=0.9, parent=None, rss_mb=140, verdict="unpruned")
    lab.add("pruned", map50=0.88, rss_mb=140).add(
        "preserving-1", map50=0.95, parent="pruned", strategy="preserving", rss_mb=60
    )
    lab.measured[-1] = replace(lab.measured[-1], epochs=3)
    ranking = lab.rank(config=CONFIG.model_copy(update={"max_rss_mb": 100.0}))
    (accuracy,) = (advice for advice in ranking.advice if advice.use == "accuracy")
    assert (accuracy.recommended, accuracy.confounded) == (None, ("preserving-1",))
    assert "beside preserving-1 no unpruned network was retrained alike" in told(accuracy, ranking)


def test_accuracy_limit_has_three_answers() -> None:
    lab = Lab().add("baseline", map50=0.9, parent=None)
    lab.add("close", map50=0.89).add("edge", map50=0.85).add("broken", map50=0.5)
    kept = {row.name: row.keeps_accuracy for row in lab.rank().rows}
    assert kept == {"baseline": "yes", "close": "yes", "edge": "not shown", "broken": "no"}
    off = CONFIG.model_copy(update={"max_map50_loss": None})
    assert {row.keeps_accuracy for row in lab.rank(config=off).rows} == {None}


def test_advice_puts_limits_before_efficiency() -> None:
    """A broken network is the fastest, smallest and most efficient, and is not recommended."""
    lab = (
        Lab()
        .add("baseline", ms=12, map50=0.88, size_mb=12, parent=None)
        .add("broken", ms=4, map50=0.5, size_mb=2)
        .add("slim", ms=8, map50=0.86, size_mb=6)
    )
    ranking = lab.rank()
    assert ranking.rows[0].name == "broken"
    advice = {a.use: a for a in ranking.advice}
    assert advice["real-time"].recommended == "slim"
    assert advice["balance"].recommended == "slim"
    assert advice["accuracy"].recommended == "baseline"
    assert "ship slim (mAP50 0.860" in told(advice["balance"], ranking)


def test_advice_says_ties_and_breaks_them_by_the_second_figure() -> None:
    lab = (
        Lab(2, map50_noise=0.01)
        .add("baseline", ms=20, map50=0.88, size_mb=12, parent=None)
        .add("quick", ms=8, map50=0.878)
        .add("quick-twin", ms=8, map50=0.877)
    )
    ranking = lab.rank()
    accuracy = next(a for a in ranking.advice if a.use == "accuracy")
    assert accuracy.recommended in ("quick", "quick-twin")
    assert accuracy.leader == "baseline"
    said = told(accuracy, ranking)
    assert "cannot be told apart from baseline, the most accurate by estimate" in said
    assert len(accuracy.tied) == 1
    assert "baseline" not in accuracy.tied


def test_advice_recommends_nothing_that_is_not_shown() -> None:
    slow = Lab().add("a", ms=100, parent=None).add("b", ms=47.9).rank()
    first = slow.advice[0]
    assert first.recommended is None
    assert told(first, slow).endswith("shown to keep 20 FPS; it is not shown either way for b.")
    assert slow.advice[2].recommended is not None
    assert "20 FPS" in told(slow.advice[2], slow)


def family() -> Lab:
    """The reference report's five networks, the retrained ones restored by training."""
    standard: dict[str, Any] = {
        "ms": 13,
        "map50": 0.87,
        "size_mb": 12.0,
        "network": "yolov8n",
        "verdict": "restored",
        "strategy": "standard",
    }
    preserving: dict[str, Any] = {
        "ms": 9,
        "map50": 0.86,
        "network": "slim",
        "verdict": "preserved",
        "strategy": "preserving",
    }
    return (
        Lab(13)
        .add("baseline", ms=13, map50=0.88, size_mb=12, network="yolov8n", parent=None)
        .add("pruned", ms=9, map50=0.80, network="slim")
        .add("standard-1", parent="pruned", **standard)
        .add("standard-2", parent="standard-1", **standard)
        .add("preserving-1", parent="pruned", **preserving)
    )


def test_effects_compare_strategies_with_the_pruned_network_and_rounds_with_each_other() -> None:
    ranking = family().rank()
    found = [(e.kind, e.strategy, e.variant, e.reference) for e in ranking.effects]
    assert found == [
        ("strategy", "standard", "standard-1", "pruned"),
        ("strategy", "standard", "standard-2", "pruned"),
        ("round", "standard", "standard-2", "standard-1"),
        ("strategy", "preserving", "preserving-1", "pruned"),
    ]
    first, _, second_round, preserving = ranking.effects
    assert first.speed.percent.estimate == pytest.approx(100 * (11 / 15 - 1), abs=1.5)
    assert first.speed.shown
    assert first.parameters_percent == pytest.approx(100.0)
    assert not second_round.speed.shown
    assert "speed" in told(second_round, ranking)
    assert "(not shown)" in told(second_round, ranking)
    assert preserving.accuracy.percent.estimate == pytest.approx(100 * (0.86 / 0.80 - 1))
    assert preserving.accuracy.shown


def test_warnings_name_what_was_restored_and_what_is_one_network() -> None:
    lab = family().add("odd", verdict="altered")
    ranking = lab.rank()
    restored, _, odd, same, _ = ranking.warnings
    assert restored == Restored(name="standard-1")
    assert told(restored, ranking) == (
        "standard-1 was restored to the unpruned network (6,000,000 parameters): "
        "its pruning is lost."
    )
    assert odd == Altered(name="odd", grounds=MOVED)
    assert told(odd, ranking) == (
        "odd was altered (3,000,000 parameters): its 3,000,000 parameters lie in other layers "
        "than its parent's 2,000,000."
    )
    assert same == SameNetwork(names=("baseline", "standard-1", "standard-2"))
    assert told(same, ranking) == (
        "baseline, standard-1 and standard-2 are the same network: differences in speed "
        "between them cannot come from the models."
    )


def test_the_same_measurements_give_the_same_ranking_and_survive_json() -> None:
    lab = family()
    ranking = lab.rank()
    assert ranking == lab.rank()
    assert Ranking.model_validate_json(ranking.model_dump_json()) == ranking


def test_csv_has_every_variant_and_is_read_back_by_the_table_command(tmp_path: Path) -> None:
    failed = FailedVariant(name="preserving-2", step="train", reason="out of memory, killed")
    ranking = family().rank(failures=[failed])
    two = ranking.model_copy(update={"threads": 2})
    path = tmp_path / "ranking.csv"
    pd.concat([ranking.to_frame(), two.to_frame()]).to_csv(path, index=False)
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    assert len(rows) == 12
    assert rows[5]["failure"] == "train: out of memory, killed"
    again = rank_table(path)
    assert isinstance(again, RunTable)
    assert [r.threads for r in again.rankings] == [1, 2]
    assert [(row.label, row.name) for row in again.rows] == [
        (row.label, row.name) for row in ranking.rows
    ]
    assert again.rows[0].efficiency.low == pytest.approx(ranking.rows[0].efficiency.low, rel=1e-3)
    assert again.rankings[0].advice == ranking.advice
    assert again.rankings[0].failures == (failed,)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(2, 60), st.floats(0.3, 0.95), st.floats(2, 12)),
        min_size=1,
        max_size=5,
    ),
    st.integers(0, 1000),
)
def test_laws_of_a_ranking(variants: list[tuple[float, float, float]], seed: int) -> None:
    config = RankingConfig(bootstrap=200)
    lab = Lab(seed, noise=0.01)
    for index, (ms, map50, size_mb) in enumerate(variants):
        lab.add(f"v{index}", ms=ms, map50=map50, size_mb=size_mb, parent=None)
        draws = np.clip(lab.rng.normal(map50, 0.02, 200), 0, 1)
        object.__setattr__(lab.measured[-1], "map50_draws", draws)
    ranking = lab.rank(config=config)
    assert [row.rank for row in ranking.rows] == sorted(row.rank for row in ranking.rows)
    assert ranking.rows[0].rank == 1
    for row in ranking.rows:
        above = [
            d.first
            for d in ranking.differences
            if d.metric == "efficiency" and d.significant and d.second == row.name
        ]
        assert row.rank == 1 + len(above)
        assert row.efficiency.low <= row.efficiency.estimate <= row.efficiency.high
        for name in row.tied_with:
            assert row.name in ranking.row(name).tied_with
    assert any(row.pareto != "no" for row in ranking.rows)
    for difference in ranking.differences:
        assert difference.p_corrected >= difference.p
        if difference.significant and difference.metric in ("speed", "latency"):
            assert difference.interval is not None
            assert difference.interval.low > 0


def test_a_control_that_is_faster_and_more_accurate_beats_a_pruned_variant() -> None:
    ranking = (
        Lab(2)
        .add("baseline", ms=12, map50=0.9, parent=None, verdict="unpruned", size_mb=12)
        .add("baseline-int8", ms=6, map50=0.9, verdict="unpruned", size_mb=3.2, control="int8")
        .add("pruned", ms=9, map50=0.7)
        .rank(config=CONFIG.model_copy(update={"max_map50_loss": 0.3}))
    )
    speed = ranking.difference("speed", "baseline-int8", "pruned")
    accuracy = ranking.difference("accuracy", "baseline-int8", "pruned")
    assert speed.interval is not None
    assert accuracy.interval is not None
    (pair,) = ranking.against_controls
    assert (pair.control, pair.variant, pair.verdict) == ("baseline-int8", "pruned", "beaten")
    assert told(pair, ranking) == (
        f"baseline-int8 is faster than pruned by {percent(speed.interval)} and is more accurate "
        f"by {points(accuracy.interval)} mAP50: baseline-int8, which costs no pruning, beats it."
    )
    assert ranking.row("baseline-int8").control == "int8"
    assert ranking.row("pruned").control is None


SIZES = Letterbox(
    baseline="baseline", control="baseline-384x640", trained=(384, 640), deployed=(192, 320)
)


def deployed_small(at_trained: float, retrained: float) -> Ranking:
    """A baseline of mAP50 0.5 as it is deployed, and what it has at its training size."""
    return (
        Lab(9)
        .add("baseline", ms=12, map50=0.5, parent=None, verdict="unpruned")
        .add("baseline-384x640", ms=40, map50=at_trained, verdict="unpruned", size_mb=12)
        .add("preserving-1", ms=6, map50=retrained, size_mb=5, strategy="preserving")
        .rank(letterbox=SIZES)
    )


def costs_of(ranking: Ranking) -> LetterboxCosts:
    (found,) = (doubt for doubt in ranking.warnings if isinstance(doubt, LetterboxCosts))
    return found


def recommended(ranking: Ranking, use: str) -> str | None:
    return next(advice.recommended for advice in ranking.advice if advice.use == use)


def test_accuracy_first_is_not_advised_at_a_size_that_costs_more_than_the_limit() -> None:
    ranking = deployed_small(0.7, 0.6)
    costs = costs_of(ranking)
    assert costs.loss is not None
    assert costs.loss.estimate == pytest.approx(0.2)
    assert (costs.shown, costs.limit) == (True, 0.05)
    assert costs.unadvised == ("baseline", "preserving-1")
    assert recommended(ranking, "accuracy") == "baseline-384x640"
    assert recommended(ranking, "real-time") == "preserving-1"
    assert told(costs, ranking) == (
        "baseline was trained at 640 pixels and is deployed at 192 x 320 (H x W); that costs it "
        f"{points(costs.loss)} mAP50 (baseline-384x640 has 0.700, baseline 0.500); that is over "
        "the limit of 0.05, so accuracy first is advised only for baseline-384x640 and what is "
        "shown to stay within the limit of it."
    )


def test_a_variant_level_with_the_training_size_must_be_shown_to_stay_within_the_limit() -> None:
    """It would be shipped as the faster one of two that are tied, were the burden not its own."""
    wide = Lab(9, map50_noise=0.03)
    wide.add("baseline", ms=12, map50=0.3, parent=None, verdict="unpruned")
    wide.add("baseline-384x640", ms=40, map50=0.7, verdict="unpruned")
    wide.add("preserving-1", ms=6, map50=0.69, strategy="preserving")
    freely, ranking = wide.rank(), wide.rank(letterbox=SIZES)
    assert recommended(freely, "accuracy") == "preserving-1"
    assert recommended(ranking, "accuracy") == "baseline-384x640"
    ranking = deployed_small(0.7, 0.69)
    assert costs_of(ranking).unadvised == ("baseline",)
    assert recommended(ranking, "accuracy") == "preserving-1"


@pytest.mark.parametrize(
    ("at_trained", "shown", "sentence"),
    [
        (0.54, True, "; that costs it {} mAP50 (baseline-384x640 has 0.540, baseline 0.500)."),
        (0.5, False, "; that it costs mAP50 is not shown (difference to baseline-384x640 {:+})."),
        (0.4, True, "; that does it good: {:-} mAP50 more than baseline-384x640."),
    ],
)
def test_a_size_within_the_limit_is_told_and_changes_no_advice(
    at_trained: float, shown: bool, sentence: str
) -> None:
    ranking = deployed_small(at_trained, 0.6)
    costs = costs_of(ranking)
    assert costs.loss is not None
    assert (costs.shown, costs.limit, costs.unadvised) == (shown, None, ())
    assert recommended(ranking, "accuracy") == "preserving-1"
    gain = replace(
        costs.loss, estimate=-costs.loss.estimate, low=-costs.loss.high, high=-costs.loss.low
    )
    words = sentence.replace("{:+}", points(costs.loss, signed=True))
    words = words.replace("{:-}", points(gain)).replace("{}", points(costs.loss))
    assert told(costs, ranking).endswith(words)


def test_a_size_that_could_not_be_measured_is_told_all_the_same() -> None:
    ranking = Lab().add("baseline", parent=None).add("pruned", ms=6).rank(letterbox=SIZES)
    assert costs_of(ranking) == LetterboxCosts(letterbox=SIZES)
    assert told(costs_of(ranking), ranking).endswith(
        "(H x W); what that costs is not known, baseline-384x640 has no figures."
    )


def test_a_control_that_is_faster_at_an_accuracy_not_told_apart_is_level() -> None:
    ranking = (
        Lab(5)
        .add("baseline", ms=12, parent=None, verdict="unpruned")
        .add("baseline-160x288", ms=6, verdict="unpruned", size_mb=12, control="resolution")
        .add("pruned", ms=9, size_mb=8)
        .rank()
    )
    accuracy = ranking.difference("accuracy", "baseline-160x288", "pruned")
    assert not accuracy.significant
    (pair,) = ranking.against_controls
    assert pair.verdict == "level"
    assert " and cannot be told apart from it in mAP50 (difference " in told(pair, ranking)
    assert "beats" not in told(pair, ranking)
    assert told(pair, ranking).endswith(
        ": no advantage of the pruning is shown; all that pruned has is the smaller file "
        "(8.00 MB against 12.00)."
    )


def test_a_difference_is_told_from_the_controls_side() -> None:
    """Faster by a quarter leaves the other slower by a fifth."""
    ranking = (
        Lab(6, noise=0.0, map50_noise=0.05)
        .add("baseline", ms=20, parent=None, verdict="unpruned")
        .add("smaller", ms=10.5, verdict="unpruned", control="smaller", map50=0.80)
        .add("pruned", ms=8, map50=0.82)
        .rank()
    )
    assert ranking.difference("speed", "smaller", "pruned").significant
    assert ranking.against_controls == ()
    speed = ranking.difference("speed", "smaller", "pruned")
    assert speed.interval is not None
    seen = speed.seen_from("smaller")
    assert seen is not None
    assert speed.interval.estimate == pytest.approx(25)
    assert seen.estimate == pytest.approx(-20)
    accuracy = ranking.difference("accuracy", "smaller", "pruned")
    assert accuracy.seen_from("pruned") == accuracy.interval
    mirrored = accuracy.seen_from("smaller")
    assert mirrored is not None
    assert mirrored.estimate == pytest.approx(-0.02)


def test_the_same_network_as_a_control_is_beaten_by_accuracy_alone() -> None:
    """Uniform pruning of yolov8s by half gives yolov8n's widths."""
    ranking = (
        Lab(7)
        .add("baseline", ms=20, parent=None, verdict="unpruned")
        .add("smaller", network="n", verdict="unpruned", control="smaller", map50=0.9)
        .add("pruned", network="n", map50=0.8)
        .rank()
    )
    (pair,) = ranking.against_controls
    assert pair.verdict == "beaten"
    assert told(pair, ranking).startswith(
        "smaller is the same network as pruned and is more accurate"
    )


def test_only_pruned_variants_are_held_against_controls() -> None:
    ranking = (
        Lab(8)
        .add("baseline", ms=12, parent=None, verdict="unpruned")
        .add("standard-1", ms=12, map50=0.5, verdict="restored")
        .add("baseline-int8", ms=6, verdict="unpruned", control="int8")
        .rank()
    )
    assert ranking.against_controls == ()
