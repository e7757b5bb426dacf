"""mAP50 by weights: against Ultralytics' own implementation, and its bootstrap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from prunebench.measuring.map_bootstrap import (
    Detections,
    Resamples,
    class_ap,
    effective_images,
    load_detections,
    mean_ap,
)

CLASSES = 7


def simulated(seed: int, images: int, *, found: float = 0.8, false: float = 3.0) -> Detections:
    """Detections of a made-up detector: ``false`` false positives per image, no equal scores."""
    rng = np.random.default_rng(seed)
    targets = rng.poisson(5 / CLASSES, (images, CLASSES))
    rows: list[tuple[int, float, int, npt.NDArray[np.bool_]]] = []
    for image in range(images):
        for cls in range(CLASSES):
            for _ in range(rng.binomial(targets[image, cls], found)):
                hit = np.arange(10) < 10 * rng.random()
                rows.append((image, rng.beta(4, 2), cls, hit))
            for _ in range(rng.poisson(false / CLASSES)):
                rows.append((image, rng.beta(1, 3), cls, np.zeros(10, bool)))
    rng.shuffle(rows)
    image, confidence, cls, tp = zip(*rows, strict=True)
    return Detections(np.array(image), np.array(confidence), np.array(cls), np.array(tp), targets)


def by_ultralytics(detections: Detections, threshold: int) -> float:
    """mAP of ``ap_per_class`` at one IoU threshold."""
    from ultralytics.utils.metrics import ap_per_class

    counts = detections.target_counts
    target_cls = np.repeat(np.tile(np.arange(CLASSES), len(counts)), counts.ravel())
    result = ap_per_class(
        detections.tp.astype(float), detections.confidence, detections.cls, target_cls
    )
    return float(result[5][:, threshold].mean())


def repeated(detections: Detections, weights: npt.NDArray[np.int64]) -> Detections:
    """A data set in which each image really occurs as often as its weight says."""
    chosen = [
        np.flatnonzero(detections.image == image)
        for image, count in enumerate(weights)
        for _ in range(count)
    ]
    index = np.concatenate(chosen)
    # Copies have equal scores: keep each copy's true positives together, as one score is.
    index = index[np.argsort(-detections.confidence[index], kind="stable")]
    return Detections(
        detections.image[index],
        -np.arange(len(index), dtype=float),
        detections.cls[index],
        detections.tp[index],
        np.repeat(detections.target_counts, weights, axis=0),
    )


@pytest.mark.parametrize("threshold", [0, 5, 9])
@pytest.mark.parametrize(
    ("images", "false"), [(4, 0.3), (20, 3.0), (60, 40.0)], ids=["few", "some", "many"]
)
def test_equals_ultralytics_with_all_weights_one(images: int, false: float, threshold: int) -> None:
    detections = simulated(images, images, false=false)
    found = mean_ap(detections, np.ones((1, images)), threshold=threshold)
    assert found == pytest.approx([by_ultralytics(detections, threshold)], abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_a_weight_counts_an_image_that_often(seed: int) -> None:
    """Only ratios of weights count: quarters are as if each image were there 4 times as often."""
    detections = simulated(seed, 25)
    times = np.random.default_rng(seed).integers(0, 9, 25)
    expected = by_ultralytics(repeated(detections, times), 0)
    assert mean_ap(detections, times[None] / 4.0) == pytest.approx([expected], abs=1e-9)


def test_one_call_equals_many_and_chunks_do_not_show() -> None:
    detections = simulated(3, 12)
    weights = Resamples(detections.target_counts, 600, 0).weights
    together = mean_ap(detections, weights)
    apart = np.concatenate([mean_ap(detections, row[None]) for row in weights[::100]])
    assert np.array_equal(together[::100], apart)


def test_a_perfect_detector_has_map_of_one_but_for_the_last_point() -> None:
    detections = simulated(1, 10, found=1.0, false=0.0)
    # Ultralytics' curve is 0 at recall 1 itself, which takes half a step of its 100 away.
    tp = np.ones_like(detections.tp)
    perfect = Detections(
        detections.image, detections.confidence, detections.cls, tp, detections.target_counts
    )
    assert mean_ap(perfect, np.ones((1, 10)))[0] == pytest.approx(1 - 0.005)


def test_without_detections_map_is_zero_and_without_targets_it_is_no_number() -> None:
    none = Detections(
        np.zeros(0, int),
        np.zeros(0),
        np.zeros(0, int),
        np.zeros((0, 10), bool),
        np.array([[1, 0], [0, 0]]),
    )
    found = mean_ap(none, np.array([[1.0, 1.0], [0.0, 2.0]]))
    assert found[0] == 0
    assert np.isnan(found[1])


def test_weights_sum_to_the_images_are_never_nothing_and_repeat_with_the_seed() -> None:
    counts = np.ones((30, 2), int)
    weights = Resamples(counts, 50, 4).weights
    assert weights.sum(axis=1) == pytest.approx(np.full(50, 30))
    assert weights.min() > 0
    assert np.array_equal(weights, Resamples(counts, 50, 4).weights)


def test_a_rare_class_leaves_the_interval_centred() -> None:
    """A class of one image that is always found: Efron's bootstrap drops it from a third."""
    detections = simulated(2, 40, found=0.4)
    counts = detections.target_counts.copy()
    counts[:, 0] = 0
    counts[7, 0] = 1
    rare = Detections(
        np.append(detections.image[detections.cls != 0], 7),
        np.append(detections.confidence[detections.cls != 0], 0.99),
        np.append(detections.cls[detections.cls != 0], 0),
        np.append(detections.tp[detections.cls != 0], np.ones((1, 10), bool), axis=0),
        counts,
    )
    found = Resamples(counts, 4000, 0).scores(rare)
    assert found.map50 == pytest.approx(mean_ap(rare, np.ones((1, 40)))[0])
    low, high = np.quantile(found.draws, [0.025, 0.975])
    assert (found.map50 - low) / (high - low) == pytest.approx(0.5, abs=0.04)


def test_a_class_has_the_unbiased_variance_of_a_mean_over_its_images() -> None:
    """Found in 3 of 12 images with one object each and nothing false, AP is the share found."""
    counts = np.ones((12, 1), int)
    hits = np.arange(3)
    detections = Detections(
        hits, np.full(3, 0.9) - hits / 100, np.zeros(3, int), np.ones((3, 10), bool), counts
    )
    found = Resamples(counts, 20_000, 0).scores(detections)
    expected = np.sqrt(0.25 * 0.75 * 12 / 11 / 12)
    assert found.class_draws[:, 0].std() == pytest.approx(expected, rel=0.03)
    # Alone it borrows from itself, and the mean over classes is its own.
    assert found.draws.std() == pytest.approx(expected, rel=0.05)


def test_effective_images_are_kishs() -> None:
    objects = np.array([[1.0, 9.0, 5.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    assert effective_images(objects) == pytest.approx([3, 100 / 82, 1])


def test_classes_without_an_object_are_no_number_and_do_not_count() -> None:
    detections = simulated(5, 30)
    wider = np.pad(detections.target_counts, ((0, 0), (0, 2)))
    more = Detections(detections.image, detections.confidence, detections.cls, detections.tp, wider)
    a, b = (Resamples(d.target_counts, 100, 1).scores(d) for d in (detections, more))
    assert np.array_equal(a.draws, b.draws)
    assert np.isnan(b.classes[-2:]).all()
    assert np.isnan(b.class_draws[:, -2:]).all()
    assert np.array_equal(b.classes[:-2], class_ap(detections, np.ones((1, 30)))[0])


def test_pairing_by_image_narrows_a_difference() -> None:
    """Two detectors that fail on the same images differ less than their own spreads say."""
    detections = simulated(8, 60)
    slightly_worse = detections.tp.copy()
    slightly_worse[np.flatnonzero(detections.tp[:, 0])[::40]] = False
    other = Detections(
        detections.image,
        detections.confidence,
        detections.cls,
        slightly_worse,
        detections.target_counts,
    )
    resamples = Resamples(detections.target_counts, 400, 0)
    a, b = resamples.scores(detections).draws, resamples.scores(other).draws
    assert (a - b).std() < 0.5 * np.hypot(a.std(), b.std())


def test_the_bootstrap_spread_is_that_of_new_images() -> None:
    spread_of_new = np.std([mean_ap(simulated(s, 80), np.ones((1, 80)))[0] for s in range(60)])
    detections = simulated(1000, 80)
    draws = Resamples(detections.target_counts, 400, 0).scores(detections).draws
    assert draws.std() == pytest.approx(spread_of_new, rel=0.4)


def test_detections_are_read_as_the_accuracy_step_writes_them(tmp_path: Path) -> None:
    detections = simulated(2, 6)
    path = tmp_path / "detections.npz"
    np.savez_compressed(
        path,
        image=detections.image.astype(np.int32),
        confidence=detections.confidence.astype(np.float32),
        cls=detections.cls.astype(np.int16),
        tp=detections.tp,
        target_counts=detections.target_counts.astype(np.int32),
    )
    loaded = load_detections(path)
    assert loaded.images == 6
    ones = np.ones((1, 6))
    assert mean_ap(loaded, ones) == pytest.approx(mean_ap(detections, ones))
