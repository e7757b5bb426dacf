"""mAP50 by weights: against Ultralytics' own implementation, and its bootstrap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from prunebench.measuring.map_bootstrap import Detections, image_weights, load_detections, mean_ap

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
    detections = simulated(seed, 25)
    weights = image_weights(25, 1, seed)
    expected = by_ultralytics(repeated(detections, weights[0].astype(int)), 0)
    assert mean_ap(detections, weights) == pytest.approx([expected], abs=1e-9)


def test_one_call_equals_many_and_chunks_do_not_show() -> None:
    detections = simulated(3, 12)
    weights = image_weights(12, 600, 0)
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


def test_weights_draw_as_many_images_as_there_are_and_repeat_with_the_seed() -> None:
    weights = image_weights(30, 50, 4)
    assert np.all(weights.sum(axis=1) == 30)
    assert np.array_equal(weights, image_weights(30, 50, 4))


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
    weights = image_weights(60, 400, 0)
    a, b = mean_ap(detections, weights), mean_ap(other, weights)
    assert (a - b).std() < 0.5 * np.hypot(a.std(), b.std())


def test_the_bootstrap_spread_is_that_of_new_images() -> None:
    spread_of_new = np.std([mean_ap(simulated(s, 80), np.ones((1, 80)))[0] for s in range(60)])
    draws = mean_ap(simulated(1000, 80), image_weights(80, 400, 0))
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
