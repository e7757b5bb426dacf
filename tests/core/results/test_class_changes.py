"""Changes of single classes: what is shown of frequent and rare ones, limits, and false alarms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from scipy import special, stats

from prunebench.common.statistics import Array
from prunebench.config.ranking import RankingConfig
from prunebench.measuring.map_bootstrap import Detections, Resamples
from prunebench.results.messages.catalogue import Messages
from prunebench.results.messages.sentences import tell
from prunebench.results.ranking.classes import (
    class_changes,
    class_figures,
    class_labels,
    p_value,
)
from prunebench.results.ranking.measured import MeasuredVariant
from prunebench.results.ranking.rank import rank
from prunebench.results.ranking.records import Ranking

RESAMPLES = 300
NAMES = {0: "cat", 1: "dog", 2: "cat"}


def detections_of(targets: npt.NDArray[np.int64], found: npt.NDArray[np.bool_]) -> Detections:
    """Detections without a false one: ``found`` says which object of (image, class) order is."""
    image, cls = np.nonzero(targets)
    repeats = targets[image, cls]
    image, cls = np.repeat(image, repeats)[found], np.repeat(cls, repeats)[found]
    return Detections(
        image=image,
        confidence=np.linspace(0.9, 0.5, len(image)),
        cls=cls,
        tp=np.ones((len(image), 10), dtype=bool),
        target_counts=targets,
    )


def variant(
    name: str, detections: Detections, seed: int = 0, resamples: int = RESAMPLES
) -> MeasuredVariant:
    counts = detections.target_counts
    scores = Resamples(counts, resamples, seed).scores(detections)
    rounds = {1: dict.fromkeys(range(8), 10.0 if name == "baseline" else 5.0)}
    return MeasuredVariant(
        name=name,
        parent=None if name == "baseline" else "baseline",
        network=name,
        size_mb=1.0,
        map50=scores.map50,
        map50_draws=scores.draws,
        images=detections.images,
        latency_ms=rounds,
        end_to_end_ms=rounds,
        realtime={1: "yes"},
        classes=class_figures(counts, scores, NAMES),
    )


def missed_in(missed: dict[int, float], images: int = 120) -> list[MeasuredVariant]:
    """A baseline that finds everything, and a variant that misses a share of some classes.

    Each image has one object of class 0, every second one of class 1, every fortieth of class 2.
    """
    targets = np.zeros((images, 3), dtype=np.int64)
    for cls, step in enumerate((1, 2, 40)):
        targets[::step, cls] = 1
    _, cls = np.nonzero(targets)
    found = np.ones(len(cls), dtype=bool)
    for index, share in missed.items():
        (objects,) = np.nonzero(cls == index)
        found[objects[: round(share * len(objects))]] = False
    everything = np.ones(len(cls), dtype=bool)
    return [
        variant("baseline", detections_of(targets, everything)),
        variant("pruned", detections_of(targets, found)),
    ]


def ranked(missed: dict[int, float], **settings: float | None) -> Ranking:
    limits = {"max_map50_loss": 0.9, **settings}
    config = RankingConfig.model_validate({"bootstrap": RESAMPLES, **limits})
    return rank(missed_in(missed), config=config, threads=1)


def test_what_a_variant_loses_in_a_class_is_shown_with_its_figures() -> None:
    ranking = ranked({1: 0.5})
    row = ranking.row("pruned")
    (change,) = row.class_changes
    assert (change.id, change.name, change.objects) == (1, "dog", 60)
    # Ultralytics' curve is 0 at recall 1 itself, which takes half a step of its 100 away.
    assert change.before == pytest.approx(0.995)
    assert change.after == pytest.approx(0.5, abs=0.01)
    assert change.change.estimate == pytest.approx(change.after - change.before)
    assert change.change.low < change.change.estimate < change.change.high < 0
    assert row.classes_against == "baseline"
    assert ranking.row("baseline").classes_against is None
    assert row.keeps_accuracy == "yes"
    advice = next(advice for advice in ranking.advice if advice.use == "real-time")
    assert advice.recommended == "pruned"
    sentence = tell(advice, ranking, Messages())
    assert "the AP50 of one class is shown to be lower than that of baseline: dog" in sentence


def test_a_class_in_a_few_images_is_never_shown_to_have_changed() -> None:
    """All three objects are lost, and every resample says so; a sign test of three says 1/4."""
    pruned = missed_in({2: 1.0})[1]
    assert pruned.classes[2].ap50 == 0
    assert pruned.classes[2].images == 3
    assert np.nanmax(pruned.classes[2].draws) == 0
    assert ranked({2: 1.0}).row("pruned").class_changes == ()


def test_a_loss_over_the_limit_in_any_class_keeps_no_accuracy() -> None:
    for limit, over in ((None, False), (0.3, True), (0.45, False), (0.0, True)):
        ranking = ranked({1: 0.5}, max_class_loss=limit)
        row = ranking.row("pruned")
        assert [change.over_limit for change in row.class_losses] == [over]
        assert row.keeps_accuracy == ("no" if over else "yes")
        advised = next(a.recommended for a in ranking.advice if a.use == "real-time")
        assert advised == ("baseline" if over else "pruned")
    # Without a limit for the mean, that of a class holds all the same.
    assert (
        ranked({1: 0.5}, max_class_loss=0.3, max_map50_loss=None).row("pruned").keeps_accuracy
        == "no"
    )


def test_gains_are_shown_but_are_no_losses() -> None:
    baseline, pruned = missed_in({1: 0.5})
    classes = {"classes": pruned.classes}, {"classes": baseline.classes}
    turned = [
        MeasuredVariant(**{**vars(one), **swapped})
        for one, swapped in zip((baseline, pruned), classes, strict=True)
    ]
    (change,) = class_changes(turned, RankingConfig())["pruned"]
    assert change.change.estimate > 0
    assert not change.over_limit


def test_classes_are_told_apart_by_id_where_two_share_a_name() -> None:
    assert class_labels(NAMES) == {0: "cat #0", 1: "dog", 2: "cat #2"}
    changes = class_changes(missed_in({0: 0.3, 1: 0.5}), RankingConfig())["pruned"]
    assert [(change.id, change.name) for change in changes] == [(1, "dog"), (0, "cat #0")]


@pytest.mark.parametrize("images", [1.0, 1.5, 2.0, 5.0, 12.0])
def test_no_p_value_is_below_that_of_a_sign_test_over_the_images(images: float) -> None:
    """Where every image says the same, its two-sided p-value is 2 / 2^n."""
    least = p_value(-1.0, np.full(RESAMPLES, -1.0), images)
    assert least == pytest.approx(2 * 0.5**images)
    if images == round(images):
        assert least == pytest.approx(stats.binomtest(0, int(images)).pvalue)


def test_images_count_by_their_share_of_the_objects() -> None:
    """Nine objects in one image and one in another: (9 + 1)^2 / (81 + 1)."""
    targets = np.array([[9, 2], [1, 2], [0, 2]])
    figures = variant("baseline", detections_of(targets, np.ones(16, dtype=bool))).classes
    assert figures[0].images == pytest.approx(100 / 82)
    assert figures[1].images == pytest.approx(3)


def equal_variants(
    rng: np.random.Generator, images: int, classes: int, variants: int
) -> list[MeasuredVariant]:
    """Variants that find the objects of the same images equally well; class n is 1/n as frequent.

    Objects are hard or easy for all of them, by image and each for itself, and come in clusters.
    """
    frequency = 4 / np.arange(1, classes + 1)
    targets = rng.poisson(rng.gamma(0.4, frequency / 0.4, (images, classes)))
    image, _ = np.nonzero(targets)
    image = np.repeat(image, targets[np.nonzero(targets)])
    hard = rng.normal(0, 1, images)[image] + rng.normal(0, 2, len(image))
    seed = int(rng.integers(2**31))

    def found() -> npt.NDArray[np.bool_]:
        logit: Array = 1.0 - hard + rng.normal(0, 1, len(hard))
        return rng.random(len(hard)) < special.expit(logit)

    names = ["baseline", *map(str, range(variants))]
    return [variant(name, detections_of(targets, found()), seed, 100) for name in names]


@pytest.mark.parametrize(("images", "classes", "variants"), [(25, 5, 2), (60, 15, 2)])
def test_at_most_one_run_in_twenty_shows_a_change_that_is_none(
    images: int, classes: int, variants: int
) -> None:
    """``benchmarks/class_errors.py`` simulates more."""
    rng, runs = np.random.default_rng(images), 50
    alarms = sum(
        bool(class_changes(equal_variants(rng, images, classes, variants), RankingConfig()))
        for _ in range(runs)
    )
    assert alarms <= stats.binom.ppf(0.99, runs, 0.05)


def test_a_change_that_another_seed_may_undo_is_not_shown() -> None:
    baseline, pruned = missed_in({1: 0.5})
    assert ranked({1: 0.5}).row("pruned").class_changes
    for spread, shown in ((0.01, True), (0.5, False)):
        figures = pruned.classes[1]
        seeds = tuple(figures.ap50 + spread * off for off in (-1, 0, 1))
        often = replace(pruned, classes={**pruned.classes, 1: replace(figures, trainings=seeds)})
        found = class_changes([baseline, often], RankingConfig()).get("pruned", ())
        assert bool(found) == shown
        for change in found:
            (plain,) = class_changes([baseline, pruned], RankingConfig())["pruned"]
            assert change.change.high - change.change.low > plain.change.high - plain.change.low
