"""How long a run takes: counted before it, and learnt from its events."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from prunebench.cli.views.plan import estimate_view
from prunebench.config.loading import Config
from prunebench.experiment.duration import (
    AROUND_S,
    EXPORT_S,
    JOURNEY_S,
    QUICKER,
    ROUND_OVERHEAD_S,
    SLOWER,
    START_S,
    TimeLeft,
    estimate,
    in_words,
    workload,
)
from prunebench.experiment.plan import plan_variants
from prunebench.experiment.speed_trial import Pace
from prunebench.steps.events import Batch, Epoch, Evaluating, Event, Failed, Finished, Timed
from prunebench.variants.pruning.search import ROUNDS, SECONDS, TRIES

LATENCY = {
    "threads": [1, 2],
    "rounds_min": 4,
    "rounds_max": 10,
    "seconds": 0.5,
    "paced_seconds": 2.0,
}


def config(**changes: object) -> Config:
    retrain = {"rounds": 1, "epochs": 3, "control": False}
    values = {"model": "best.pt", "retrain": retrain, "latency": LATENCY}
    return Config.model_validate({**values, **changes})


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def time_left(settings: Config, clock: Clock) -> TimeLeft:
    plan = plan_variants(settings)
    return TimeLeft(workload(settings, plan), {v.name: v.parent for v in plan}, clock=clock)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "5 s"),
        (41, "45 s"),
        (55, "1 min"),
        (61, "2 min"),
        (3600, "1 h"),
        (7801, "2 h 15 min"),
    ],
)
def test_seconds_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_everything_that_trains_is_counted() -> None:
    settings = config(
        model="yolov8n.yaml",
        baseline={"epochs": 20},
        prune={"stages": 3, "stage_epochs": 2, "sparsity": {"kind": "bn_l1", "epochs": 5}},
        controls=["smaller"],
        retrain={"rounds": 1, "epochs": 3},
    )
    assert workload(settings, plan_variants(settings)).epochs == {
        "baseline": 20,
        "pruned": 9,
        "standard-1": 3,
        "preserving-1": 3,
        "retrained-0": 9,
        "retrained-1": 3,
        "smaller": 23,
    }


def test_an_estimate_adds_up() -> None:
    settings = config(prune={"target": 0.3, "allocation": "uniform"})
    pace = Pace(train_s=0.1, validate_s=0.05, infer_s=0.01)
    found = estimate(settings, plan_variants(settings), pace, images=(100, 20, 50))
    around, training, _, files, measuring = found.parts
    epoch_s = 100 * 0.1 + 20 * 0.05
    assert training.low_s == pytest.approx(QUICKER * 2 * (START_S + 3 * epoch_s))
    assert training.high_s == pytest.approx(SLOWER * 2 * (START_S + 3 * epoch_s))
    assert files.low_s == pytest.approx(QUICKER * 4 * (EXPORT_S + START_S + 0.5))
    round_s = 4 * 2 * (3.0 + ROUND_OVERHEAD_S) + ROUND_OVERHEAD_S
    assert measuring.low_s == pytest.approx(4 * round_s)
    assert measuring.high_s == pytest.approx(10 * round_s)
    assert around.high_s == AROUND_S
    assert found.low_s < found.high_s
    assert not found.quantizes


def test_a_larger_letterbox_takes_longer_to_evaluate() -> None:
    settings = config(prune={"target": 0.3, "allocation": "uniform"})
    pace = Pace(train_s=0.1, validate_s=0.05, infer_s=0.01)
    parts = (
        estimate(settings, plan_variants(settings, side), pace, images=(100, 20, 50)).parts[3]
        for side in (320, 640)
    )
    as_trained, larger = parts
    # Twice the width and the height: four times 50 images of 0.01 s.
    extra = QUICKER * (EXPORT_S + START_S + 4 * 0.5)
    assert larger.low_s == pytest.approx(as_trained.low_s + extra)


def test_an_estimate_says_what_is_not_in_it() -> None:
    settings = config(prune={"target": "8 ms"}, quantize="int8")
    pace = Pace(train_s=0.1, validate_s=0.05, infer_s=0.01)
    assert estimate(settings, plan_variants(settings), pace, images=(1, 1, 1)).quantizes


def test_what_other_hosts_do_is_named_and_not_in_the_sum() -> None:
    cluster = {"engine": "dask", "address": "tcp://gpu:8786", "store": "s3://bucket/runs"}
    here, there = config(), config(**cluster, devices=["orin", "pi"])
    plan, images = plan_variants(here), (100, 20, 50)
    tried = estimate(here, plan, Pace(train_s=9, validate_s=1, infer_s=0.01), images=images)
    pace = Pace(train_s=None, validate_s=1, infer_s=0.01)
    found = estimate(there, plan, pace, images=images)
    assert [p for p in tried.parts if "trainings," not in p.title] == [*found.parts]
    assert (tried.cluster, found.cluster) == (None, "tcp://gpu:8786")
    console = Console(width=100, file=io.StringIO())
    console.print(estimate_view(found), estimate_view(tried))
    said = " ".join(console.file.getvalue().split())
    assert said.count("run on the Dask cluster at tcp://gpu:8786. How long it trains was not") == 1
    console.print(estimate_view(found.model_copy(update={"devices": ("pi",)})))
    assert "Then pi measures too, which is not in it." in " ".join(console.file.getvalue().split())
    assert said.count("Then orin and pi measure too, which is not in it.") == 1


@pytest.mark.parametrize(("budget_minutes", "rounds"), [(10, 7 * (10 - 6)), (0.2, 10)])
def test_an_estimate_counts_the_search_for_measured_targets(
    budget_minutes: float, rounds: int
) -> None:
    settings = config(
        prune={"target": ["8 ms", "2x", "1.7M parameters"]},
        quantize="int8",
        latency={**LATENCY, "budget_minutes": budget_minutes},
    )
    pace = Pace(train_s=0.1, validate_s=0.05, infer_s=0.01, layers_s=20.0, costs_s=3.0)
    parts = estimate(settings, plan_variants(settings), pace, images=(1, 1, 1)).parts
    layers, costs, search = parts[2:5]
    assert layers.title.startswith("measuring what each layer matters")
    assert layers.low_s == pytest.approx(QUICKER * (START_S + 20))
    assert layers.high_s == pytest.approx(SLOWER * (START_S + 20))
    assert costs.low_s == pytest.approx(QUICKER * (START_S + 3))
    one = EXPORT_S + ROUNDS * 2 * (SECONDS + ROUND_OVERHEAD_S)
    assert search.low_s == pytest.approx(QUICKER * 2 * one)
    longer = rounds * 2 * (SECONDS + ROUND_OVERHEAD_S)
    assert search.high_s == pytest.approx(SLOWER * 2 * (TRIES * one + longer))


def test_an_estimate_says_what_a_device_does_and_how_long_that_takes() -> None:
    there = {"devices": {"pi5": "ssh://pi", "orin": None}, "store": "file:///store"}
    here, measured_on = (
        config(**there, prune={"target": "2x", "measure_on": name}) for name in (None, "pi5")
    )
    pace = Pace(train_s=0.1, validate_s=0.05, infer_s=0.01, layers_s=20.0, costs_s=3.0)
    asked = {"images": (1, 1, 1)}
    before = estimate(here, plan_variants(here), pace, **asked)
    after = estimate(measured_on, plan_variants(here), pace, **asked, slower=10.0)
    assert before.devices == after.devices == ("orin",)
    assert after.parts[-1].title == "measuring latency on pi5, at once"
    low, high = before.parts[-2].low_s, before.parts[-2].high_s
    assert after.parts[-1].low_s == JOURNEY_S + low
    assert after.parts[-1].high_s > high
    assert [one.title.endswith(", on pi5") for one in after.parts[2:5]] == [False, True, True]
    assert not any(one.title.endswith(", on pi5") for one in before.parts)
    costs, search = after.parts[3:5]
    assert costs.low_s == pytest.approx(QUICKER * (START_S + JOURNEY_S + 30))
    round_s = 2 * (SECONDS + 10 * ROUND_OVERHEAD_S)
    one = EXPORT_S + JOURNEY_S + ROUNDS * round_s
    longest = TRIES * (one + (LATENCY["rounds_max"] - ROUNDS) * round_s)
    assert search.high_s == pytest.approx(SLOWER * longest)


def test_nothing_is_said_before_an_epoch_has_shown_its_time() -> None:
    assert time_left(config(), Clock()).seconds() is None
    assert time_left(config(retrain={"rounds": 0}), Clock()).seconds() is not None


def test_what_is_left_falls_as_the_run_goes_on() -> None:
    clock = Clock()
    left = time_left(config(), clock)
    told: list[float] = []

    def note(event: Event) -> None:
        left.on_event(event)
        seconds = left.seconds()
        if seconds is not None:
            told.append(seconds)

    for name in ("baseline", "pruned"):
        note(Finished(step="make", found="", variant=name))
    place = {"phase": "train", "epoch": 1, "epochs": 3, "batch": 5, "batches": 10}
    note(Batch(**place, variant="standard-1", seconds_left=25.0))
    rest = 4 * (EXPORT_S + START_S) + 2 * START_S + 4 * left._work.round_s
    assert told == [pytest.approx(25.0 + 30.0 + rest)]
    note(Epoch(variant="standard-1", epoch=3, epochs=3, seconds_left=0.0))
    note(Finished(step="make", found="", variant="standard-1"))
    clock.now = 50
    note(Evaluating(variant="standard-1", images=50))
    clock.now = 51
    note(Finished(step="accuracy", found="", variant="standard-1"))
    note(Failed(variant="preserving-1", reason="out of memory"))
    assert told == sorted(told, reverse=True)
    for number in range(1, 11):
        clock.now += 20
        note(Timed(round=number, run=1, runs=1, threads=1, model_ms=1.0))
        assert left.is_most == (number > 4)
    assert told[-10:-6] == [pytest.approx(3 * left._work.round_s), *(20 * n for n in (2, 1, 0))]
    assert told[-6:] == [20 * n for n in (5, 4, 3, 2, 1, 0)]


def test_what_failed_takes_its_children_with_it() -> None:
    left = time_left(config(retrain={"rounds": 2, "control": False}), Clock())
    left.on_event(Failed(variant="pruned", reason="no"))
    left.on_event(Finished(step="make", found="", variant="baseline"))
    expected = EXPORT_S + START_S + 4 * left._work.round_s
    assert left.seconds() == pytest.approx(expected)


def test_minutes_of_load_and_a_second_class_of_cores_take_their_time() -> None:
    pace, images = Pace(train_s=0.01, validate_s=0.01, infer_s=0.01), (8, 8, 8)

    def measuring(**latency: object) -> tuple[float, float]:
        settings = config(latency={**LATENCY, **latency})
        (part,) = (
            part
            for part in estimate(settings, plan_variants(settings), pace, images=images).parts
            if part.title == "measuring latency"
        )
        return part.low_s, part.high_s

    low, high = measuring()
    soaked, _ = measuring(soak_minutes=30)
    assert 30 * 60 <= soaked < 30 * 60 + low / LATENCY["rounds_min"]
    assert measuring(cores=["big", "little"]) == (2 * low, 2 * high)
