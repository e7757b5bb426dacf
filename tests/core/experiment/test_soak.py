"""What minutes of load change: the parts compared, and what is said of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from experiment_kit import bare_experiment
from latency_kit import sample
from report_kit import MIXED, Maker, make_run

from prunebench.common.records import FileRef
from prunebench.experiment.measure_and_rank import rank_run
from prunebench.experiment.soak import parts_of
from prunebench.measuring.latency.log import lines_of
from prunebench.measuring.latency.raw import Sample
from prunebench.measuring.latency.samples import read_samples
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_soak
from prunebench.results.outcome import LATENCY_FILE, RunRanking, read_latency, read_outcome
from prunebench.results.report.build import report_markdown
from prunebench.results.run_folder import LATENCY_FOLDER, read_run_config, read_variants
from prunebench.results.soak import Moved, Part, Soak

TIMES = ("model_ms", "letterbox_ms", "inference_ms", "nms_ms")
QUIET = Part(rounds=3, mhz=None, celsius=None, throttled=0, runs=9)


def made_soaked(folder: Path, makers: tuple[Maker, ...], slower: dict[str, float]) -> RunRanking:
    """A run of 30 rounds, half a minute each; from the 16th on some variants are slower."""
    make_run(folder, makers, threads=(1,), rounds=30)
    home, latency = folder / LATENCY_FOLDER, read_latency(folder)
    samples = []
    for one in read_samples(home / latency.samples.path):
        factor = slower.get(one.variant, 1.0) if one.round >= 15 else 1.0
        times = {name: tuple(factor * ms for ms in getattr(one, name)) for name in TIMES}
        mhz = (600.0 if one.round >= 15 else 1500.0,)
        samples.append(replace(one, **{**times, "elapsed_s": 15.0, "turns_mhz": mhz}))
    path = home / latency.samples.path
    path.write_text(lines_of(samples))
    settings = latency.settings.model_copy(update={"soak_minutes": 15.0})
    changed = {"settings": settings, "samples": FileRef.of(path, home)}
    latency = latency.model_copy(update=changed)
    (home / LATENCY_FILE).write_text(latency.model_dump_json())
    config = read_run_config(folder).model_copy(update={"latency": settings})
    return rank_run(bare_experiment(config, folder), read_variants(folder), latency)


def rounds_of(*seconds: float) -> list[Sample]:
    """Two child runs a round, which took so many seconds together."""
    return [
        sample(name, number, elapsed_s=took / 2)
        for number, took in enumerate(seconds)
        for name in "ab"
    ]


@pytest.mark.parametrize(
    ("seconds", "first", "last"),
    [
        # 12 rounds of 20 s: three begin in the first minute, four after two thirds of 240 s.
        ([20] * 12, [0, 1, 2], [8, 9, 10, 11]),
        # A ranking needs three rounds, however long they take.
        ([100] * 9, [0, 1, 2], [6, 7, 8]),
        ([5] * 36, list(range(12)), list(range(24, 36))),
        ([2] * 12, [0, 1, 2, 3], [8, 9, 10, 11]),
    ],
)
def test_the_parts_are_the_first_minute_and_the_last_third(
    seconds: list[float], first: list[int], last: list[int]
) -> None:
    assert parts_of(rounds_of(*seconds)) == (first, last)


def test_a_ranking_that_changed_under_load_is_told(tmp_path: Path) -> None:
    # The pruned one is throttled to a third of its speed after half of the load.
    makers = (MIXED[0], replace(MIXED[1], found=0.86))
    outcome = made_soaked(tmp_path / "run", makers, slower={"pruned": 3.0})
    assert outcome.soak is not None
    assert outcome.soak.moved == (
        Moved(name="baseline", first="2", last="1"),
        Moved(name="pruned", first="1", last="2"),
    )
    assert (outcome.soak.first.mhz, outcome.soak.last.mhz) == (1500, 600)
    # Half of the two took three times as long, the other half as long as before.
    assert outcome.soak.times == pytest.approx(2.0, rel=0.05)
    assert read_outcome(tmp_path / "run").soak == outcome.soak
    said = "the ranking differs from that of the first minute: baseline went from 2 to 1 and pruned"
    assert said in report_markdown(tmp_path / "run")
    korean = report_markdown(tmp_path / "run", lang="ko")
    assert "처음 1분과 다름: baseline: 2 → 1" in korean


def test_a_ranking_that_stays_is_told_too(tmp_path: Path) -> None:
    makers = (MIXED[0], replace(MIXED[1], found=0.86))
    outcome = made_soaked(tmp_path / "run", makers, slower={})
    assert outcome.soak is not None
    assert outcome.soak.moved == ()
    assert "After 15 minutes of load the ranking is that of the first minute" in tell_soak(
        outcome.soak, Messages()
    )


@pytest.mark.parametrize(
    ("last", "said"),
    [
        ({}, ""),
        ({"mhz": 600.0}, "; the clock went from 1500 to 600 MHz"),
        ({"celsius": 81.6}, "; the hottest zone went from 50 to 82 °C"),
        ({"throttled": 4}, "; 4 of 9 child runs at the end were throttled"),
    ],
)
def test_what_the_sensors_saw_is_told_where_they_saw_it(last: dict[str, Any], said: str) -> None:
    first = QUIET.model_copy(update={"mhz": 1500.0, "celsius": 50.0})
    after = QUIET.model_copy(update=last)
    soak = Soak(minutes=10, times=1.25, moved=(), first=first, last=after)
    start = "After 10 minutes of load the ranking is that of the first minute"
    assert tell_soak(soak, Messages()) == f"{start}; a network takes 1.25 times as long{said}."
