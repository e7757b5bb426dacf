"""Names beside the points of a scatter plot: none covers another one, a point, or is outside."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunebench.common.statistics import Array
from prunebench.results.report.labels import LINE_PX, MARKER_PX, Label, place, text_width

NOWHERE = np.empty((0, 4))
PHONE, SMALL = (280.0, 468.0), (250.0, 468.0)


def box(point: Array, label: Label) -> tuple[float, float, float, float]:
    x, y = point[0] + label.dx, point[1] + label.dy
    half = text_width(label.text) / 2
    return x - half, y - LINE_PX / 2, x + half, y + LINE_PX / 2


def overlap(a: Sequence[float], b: Sequence[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=22),
            st.floats(0, 1),
            st.floats(0, 1),
        ),
        min_size=1,
        max_size=25,
    ),
    st.sampled_from([PHONE, (580.0, 400.0), (1140.0, 460.0)]),
)
def test_no_name_covers_anything(
    named: list[tuple[str, float, float]], size: tuple[float, float]
) -> None:
    texts = [text for text, _, _ in named]
    points = np.array([(x * size[0], y * size[1]) for _, x, y in named])
    limit = (0.8 * size[0], size[1] - 60, 0.8 * size[0] + 15, size[1])
    labels = place(texts, points, size, avoid=np.array([limit]), rather_not=NOWHERE)
    assert [label.text for label in labels if label] == [
        text for text, label in zip(texts, labels, strict=True) if label
    ]
    boxes = [box(p, one) for p, one in zip(points, labels, strict=True) if one is not None]
    for i, own in enumerate(boxes):
        assert own[0] >= -0.1
        assert own[1] >= -0.1
        assert own[2] <= size[0] + 0.1
        assert own[3] <= size[1] + 0.1
        assert not overlap(own, limit)
        assert not any(overlap(own, other) for other in boxes[:i])
        for x, y in points:
            marker = (x - MARKER_PX, y - MARKER_PX, x + MARKER_PX, y + MARKER_PX)
            assert not overlap(own, marker)


@pytest.mark.parametrize("size", [PHONE, SMALL])
@pytest.mark.parametrize("spread", [0.0, 5.0, 60.0])
def test_twenty_close_variants_all_get_their_names_on_a_phone(
    spread: float, size: tuple[float, float]
) -> None:
    rng = np.random.default_rng(1)
    texts = [f"preserving-2x-{number}" for number in range(20)]
    points = np.array(size) / 2 + spread * rng.standard_normal((20, 2)).clip(-1.5, 1.5)
    labels = place(texts, points, size, avoid=NOWHERE, rather_not=NOWHERE)
    assert [label and label.text for label in labels] == texts


def test_a_lonely_name_stands_beside_its_point_and_off_its_bars() -> None:
    point = np.array([[100.0, 100.0]])
    (free,) = place(["pruned"], point, (400, 300), avoid=NOWHERE, rather_not=NOWHERE)
    assert free is not None
    assert not free.is_apart
    bar = np.array([(60.0, 99.0, 220.0, 101.0)])
    (beside,) = place(["pruned"], point, (400, 300), avoid=NOWHERE, rather_not=bar)
    assert beside is not None
    assert not overlap(box(point[0], beside), bar[0])
    assert math.hypot(beside.dx, beside.dy) < 60


def test_without_room_there_is_no_name() -> None:
    (label,) = place(
        ["a" * 22], np.array([[30.0, 30.0]]), (60, 60), avoid=NOWHERE, rather_not=NOWHERE
    )
    assert label is None
