"""Where the names of points stand in a plot, so that none covers another or a point.

Pixels from the plot's upper left corner, y downwards. Boxes are rows of left, top, right, bottom.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prunebench.common.statistics import Array

FONT_PX = 12
LINE_PX = 15
GAP_PX = 3
"""Between the boxes of two names, and of a name and a point."""

MARKER_PX = 8
"""From a point's centre to the edge of its marker."""

NARROW, WIDE = "-.,:;|!'()[]fijlrt ", "mwMW@%\N{HORIZONTAL ELLIPSIS}"
STEP_PX = 8
CROSSING_PX = 20
"""As much further away a name goes rather than over a line or an error bar."""


@dataclass(frozen=True)
class Label:
    """A name whose box has its centre ``dx`` to the right of its point and ``dy`` below."""

    text: str
    dx: float
    dy: float

    @property
    def is_apart(self) -> bool:
        """Whether a line must say whose name it is."""
        reach = text_width(self.text) / 2 + MARKER_PX + 2 * GAP_PX
        return abs(self.dx) > reach or abs(self.dy) > LINE_PX / 2 + MARKER_PX + 2 * GAP_PX


def text_width(text: str) -> float:
    """Pixels that no common sans-serif font exceeds; the page's reader may have any of them."""
    return FONT_PX * sum(map(_em, text))


def _em(character: str) -> float:
    """Width of a character in sizes of its font; those of DejaVu Sans, which is wide."""
    if unicodedata.east_asian_width(character) in "WF" or character in WIDE:
        return 1.0
    return (
        0.42 if character in NARROW else 0.7 if character.islower() or character.isdigit() else 0.8
    )


def place(
    texts: Sequence[str],
    points: Array,
    size: tuple[float, float],
    *,
    avoid: Array,
    rather_not: Array,
) -> list[Label | None]:
    """The nearest free place of each name, crowded points first; ``None`` where none is left.

    Args:
        texts: The names of the first of the points.
        points: Centres of the markers, shape (points, 2).
        size: Width and height of the plot.
        avoid: Boxes that no name may touch, besides the markers.
        rather_not: Boxes that names stay off where there is another place.
    """
    taken = np.vstack((avoid, np.column_stack((points - MARKER_PX, points + MARKER_PX))))
    crossed = rather_not
    labels: list[Label | None] = [None] * len(texts)
    for index in _crowded_first(points[: len(texts)]):
        point, half = points[index], np.array([text_width(texts[index]), LINE_PX]) / 2
        centres = _candidates(point, half, np.array(size))
        boxes = np.column_stack((centres - half - GAP_PX, centres + half + GAP_PX))
        free = ~_touch(boxes, taken).any(axis=1)
        if not free.any():
            continue
        centres, boxes = centres[free], boxes[free]
        away = np.maximum(np.abs(centres - point) - half, 0)
        cost = np.hypot(*away.T) + CROSSING_PX * _touch(boxes, crossed).sum(axis=1)
        best = int(cost.argmin())
        dx, dy = (round(float(one), 1) for one in centres[best] - point)
        labels[index] = label = Label(texts[index], dx, dy)
        taken = np.vstack((taken, boxes[best]))
        if label.is_apart:
            steps = np.linspace(point, centres[best], 12)
            crossed = np.vstack((crossed, np.column_stack((steps - 1, steps + 1))))
    return labels


def _crowded_first(points: Array) -> list[int]:
    """Indices of points, those with the nearest neighbours first."""
    apart = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))
    return list(map(int, np.argsort(-np.exp(-apart / 50).sum(axis=1), kind="stable")))


def _candidates(point: Array, half: Array, size: Array) -> Array:
    """Centres inside of the plot: beside, above and below the point, then everywhere."""
    reach = half + MARKER_PX + GAP_PX
    sides = np.array([(1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1)])
    # A corner's name may come nearer: a marker is round.
    near = point + sides * reach * np.where(np.abs(sides).sum(axis=1) == 2, 0.9, 1)[:, None]
    axes = [np.arange(h, s - h + 1, STEP_PX) for h, s in zip(half, size, strict=True)]
    everywhere = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    centres = np.vstack((near, everywhere))
    inside = ((centres >= half) & (centres <= size - half)).all(axis=1)
    return centres[inside]


def _touch(a: Array, b: Array) -> NDArray[np.bool_]:
    """Which boxes of ``a`` overlap which of ``b``, shape (a, b)."""
    return (
        (a[:, None, 0] < b[:, 2])
        & (b[:, 0] < a[:, None, 2])
        & (a[:, None, 1] < b[:, 3])
        & (b[:, 1] < a[:, None, 3])
    )
