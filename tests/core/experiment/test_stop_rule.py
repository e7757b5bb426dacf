"""Whether a round shows a gain over the one before, on detections whose mAP50 is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from experiment_kit import bare_experiment
from scipy import stats

from prunebench.common.records import (
    Accuracy,
    Audit,
    FileRef,
    Grounds,
    Interval,
    Structure,
    TrainingSummary,
)
from prunebench.common.variant_record import Judgement, VariantRecord
from prunebench.config.loading import Config
from prunebench.experiment.inputs import Experiment
from prunebench.experiment.plan import plan_variants
from prunebench.experiment.stop_rule import judge_control, judge_round
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.observations import tell_judgement

IMAGES = 100


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    return bare_experiment(Config(model="best.pt"), tmp_path)


def round_record(
    folder: Path,
    number: int,
    found: list[int],
    *,
    images: int = IMAGES,
    width: int = 16,
    masks: int | None = None,
) -> VariantRecord:
    """A round that finds the one object of some images, and nothing false.

    The first ``masks`` of what is found also have the right outline, by default all.
    """
    path = folder / f"{number}.npz"
    outlined = len(found) if masks is None else masks
    np.savez(
        path,
        image=np.array(found, dtype=np.int64),
        confidence=np.linspace(0.9, 0.5, len(found)),
        cls=np.zeros(len(found), dtype=np.int64),
        tp=np.ones((len(found), 10), dtype=bool),
        tp_mask=np.tile(np.arange(len(found))[:, None] < outlined, 10),
        target_counts=np.ones((images, 1), dtype=np.int64),
    )
    structure = Structure(
        task="detect",
        names={0: "tree"},
        parameters=100 * width,
        parameters_fused=99 * width,
        macs=1000 * width,
        macs_imgsz=(64, 96),
        widths={"model.0.conv": width},
        fused=False,
    )
    return VariantRecord(
        name=f"preserving-{number}",
        parent=f"preserving-{number - 1}",
        steps=("load checkpoint", "prune", *(f"round {n}" for n in range(1, number + 1))),
        audit=Audit(
            structure=structure,
            verdict="preserved",
            grounds=Grounds(kind="same_widths", classes=1),
            kept_share=0.5,
        ),
        training=TrainingSummary(
            strategy="preserving", round=number, epochs=1, minutes=1, transferred=1, tensors=1
        ),
        accuracy=Accuracy(
            map50=len(found) / images,
            map50_95=len(found) / images,
            per_class={},
            per_class_50_95={},
            images=images,
            instances=images,
            imgsz=(64, 96),
            detections=FileRef.of(path, folder),
        ),
    )


def test_a_shown_gain_goes_on(experiment: Experiment, tmp_path: Path) -> None:
    before = round_record(tmp_path, 1, list(range(60)))
    after = round_record(tmp_path, 2, list(range(68)))
    judgement = judge_round(experiment, before, after)
    # With nothing false, AP is the share found; 8 images of 100 make the difference, so the
    # resampled gain is a binomial share.
    low, high = stats.binom.ppf([0.025, 0.975], IMAGES, 0.08) / IMAGES
    assert judgement.gain is not None
    assert judgement.gain.estimate == pytest.approx(0.08, abs=0.011)
    assert (judgement.gain.low, judgement.gain.high) == pytest.approx((low, high), abs=0.015)
    assert not judgement.stops
    assert (judgement.round, judgement.finding) == (2, "gain")


def test_a_round_is_judged_by_what_ranks(experiment: Experiment, tmp_path: Path) -> None:
    """More boxes of which fewer have the right outline: a gain by box, a loss by mask."""
    before = round_record(tmp_path, 1, list(range(60)))
    after = round_record(tmp_path, 2, list(range(68)), masks=40)
    assert not judge_round(experiment, before, after).stops
    config = Config(model="best.pt", ranking={"metric": "mask"})
    by_mask = judge_round(experiment.model_copy(update={"config": config}), before, after)
    assert by_mask.stops
    assert by_mask.gain is not None
    assert by_mask.gain.estimate == pytest.approx(-0.2, abs=0.011)
    assert by_mask.metric == "mask"
    assert " points mask mAP50 [" in tell_judgement(by_mask, Messages())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (range(60), range(60)),
        (range(60), range(59)),
        (range(60), range(30, 91)),  # one image more, but thirty others
        (range(0), range(0)),
    ],
)
def test_without_a_shown_gain_the_chain_stops(
    before: range, after: range, experiment: Experiment, tmp_path: Path
) -> None:
    judgement = judge_round(
        experiment, round_record(tmp_path, 1, [*before]), round_record(tmp_path, 2, [*after])
    )
    assert judgement.stops
    assert judgement.finding == "no_gain"
    assert judgement.gain is not None
    assert judgement.gain.estimate == pytest.approx((len(after) - len(before)) / 100, abs=0.011)


def test_the_same_images_are_resampled_for_both(experiment: Experiment, tmp_path: Path) -> None:
    # Unpaired, 4 of 100 images would drown in the spread of two shares of one half.
    before = round_record(tmp_path, 1, list(range(50)))
    after = round_record(tmp_path, 2, list(range(56)))
    assert 1.96 * np.sqrt(2 * 0.5 * 0.5 / IMAGES) > 0.06
    assert not judge_round(experiment, before, after).stops


def test_another_network_cannot_be_judged_and_goes_on(
    experiment: Experiment, tmp_path: Path
) -> None:
    before = round_record(tmp_path, 1, list(range(60)), width=16)
    after = round_record(tmp_path, 2, list(range(50)), width=24)
    judgement = judge_round(experiment, before, after)
    assert (judgement.stops, judgement.gain) == (False, None)
    assert judgement.finding == "other_network"
    assert tell_judgement(judgement, Messages()) == (
        "round 2: its network is another one than round 1's, so its gain in efficiency cannot be "
        "judged without measuring; went on"
    )


def test_few_images_judge_nothing(experiment: Experiment, tmp_path: Path) -> None:
    rounds = [round_record(tmp_path, number, [0, 1], images=8) for number in (1, 2)]
    judgement = judge_round(experiment, *rounds)
    assert (judgement.stops, judgement.gain) == (False, None)
    assert judgement.finding == "few_images"
    assert "8 images, 20 are needed" in tell_judgement(judgement, Messages())


def test_a_stopped_chain_stays_stopped(experiment: Experiment) -> None:
    judgement = Judgement(round=2, finding="no_gain")
    left_out = VariantRecord(name="preserving-3", parent="preserving-2", steps=())
    left_out = left_out.model_copy(update={"judgement": judgement})
    before = VariantRecord(name="preserving-2", parent="preserving-1", steps=())
    assert judge_round(experiment, before, left_out) == judgement


def test_the_control_goes_on_as_long_as_a_chain_beside_it_does() -> None:
    def record(round: int | None) -> VariantRecord:
        judgement = None if round is None else Judgement(round=round, finding="no_gain")
        return VariantRecord(name="x", parent="y", steps=(), judgement=judgement)

    ended, trained, failed = record(2), record(None), ValueError("out of memory")
    assert judge_control([]) is None
    assert judge_control([ended, trained]) is None
    assert judge_control([failed, trained]) is None
    assert judge_control([failed, None]) is None
    stopped = Judgement(round=3, finding="chains_ended")
    assert judge_control([ended, record(3), failed]) == stopped
    assert stopped.stops


@pytest.mark.parametrize(
    ("figures", "sentence"),
    [
        (
            (0.004, -0.006, 0.013),
            "round 2: +0.4 points mAP50 [-0.6, +1.3], no gain shown; stopped",
        ),
        (
            (0.031, 0.012, 0.048),
            "round 2: +3.1 points mAP50 [+1.2, +4.8], a gain is shown; went on",
        ),
        ((-0.0, -0.0, 0.0), "round 2: +0.0 points mAP50 [+0.0, +0.0], no gain shown; stopped"),
    ],
)
def test_the_reason_is_one_sentence(figures: tuple[float, ...], sentence: str) -> None:
    estimate, low, high = figures
    judgement = Judgement(
        round=2,
        finding="gain" if low > 0 else "no_gain",
        gain=Interval(estimate=estimate, low=low, high=high),
    )
    assert tell_judgement(judgement, Messages()) == sentence


def test_a_round_is_judged_from_the_third_on_where_that_is_asked_for() -> None:
    retrain = {"rounds": 4, "strategies": {"preserving": {}}}
    asked = plan_variants(Config(model="best.pt", retrain={**retrain, "stop_when": "no_gain"}))
    assert {v.name: v.judged_by for v in asked if v.judged_by and v.control is None} == {
        "preserving-3": ("preserving-1", "preserving-2"),
        "preserving-4": ("preserving-2", "preserving-3"),
    }
    assert not any(v.judged_by for v in plan_variants(Config(model="best.pt", retrain=retrain)))


def test_of_several_trainings_the_mean_gain_counts_and_has_to_be_shown_over_them(
    experiment: Experiment, tmp_path: Path
) -> None:
    def several(number: int, found: list[int]) -> VariantRecord:
        each = []
        for seed, count in enumerate(found):
            home = tmp_path / f"{number}-{seed}"
            home.mkdir(exist_ok=True)
            one = round_record(home, number, list(range(count)))
            assert one.accuracy is not None
            detections = FileRef.of(home / f"{number}.npz", tmp_path)
            accuracy = one.accuracy.model_copy(update={"detections": detections})
            each.append(one.model_copy(update={"seed": seed, "accuracy": accuracy}))
        return each[0].model_copy(update={"seed": None, "trainings": tuple(each)})

    before = several(1, [60, 50, 55])
    alike = judge_round(experiment, before, several(2, [68, 57, 63]))
    assert alike.gain is not None
    assert alike.gain.estimate == pytest.approx((0.08 + 0.07 + 0.08) / 3, abs=0.011)
    assert not alike.stops, "every seed gained"
    mixed = judge_round(experiment, before, several(2, [83, 50, 55]))
    assert mixed.gain is not None
    assert mixed.gain.estimate == pytest.approx(0.23 / 3, abs=0.011)
    assert mixed.stops, "one seed gained, which another choice of seeds may not"
