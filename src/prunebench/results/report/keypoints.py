"""Colours of keypoints, and the limbs between them, as Ultralytics draws them.

Seventeen are COCO's of a person; of any other number each has the colour of its place.
"""

from __future__ import annotations

from collections.abc import Sequence

from prunebench.results.report.document import Dot, Limb

PALETTE = (
    *("#042aff", "#0bdbeb", "#f3f3f3", "#00dfb7", "#111f68", "#ff6fdd", "#ff444f", "#cced00"),
    *("#00f344", "#bd00ff", "#00b4ff", "#dd00ba", "#00ffff", "#26c000", "#01ffb3", "#7d24ff"),
    *("#7b0068", "#ff1b6c", "#fc6d2f", "#a2ff0b"),
)
HEAD, BODY, ARM, LEG = "#00ff00", "#ff33ff", "#ff8000", "#3399ff"
PERSON = (*[HEAD] * 5, *[ARM] * 6, *[LEG] * 6)
LIMBS = (
    *((15, 13, LEG), (13, 11, LEG), (16, 14, LEG), (14, 12, LEG)),
    *((11, 12, BODY), (5, 11, BODY), (6, 12, BODY)),
    *((5, 6, ARM), (5, 7, ARM), (6, 8, ARM), (7, 9, ARM), (8, 10, ARM)),
    *((1, 2, HEAD), (0, 1, HEAD), (0, 2, HEAD), (1, 3, HEAD), (2, 4, HEAD), (3, 5, HEAD)),
    (4, 6, HEAD),
)
"""Places of both ends, and a colour."""


def coloured(
    seen: Sequence[tuple[int, float, float]], count: int
) -> tuple[tuple[Dot, ...], tuple[Limb, ...]]:
    """The dots and limbs of an object's keypoints that are ``seen``, of ``count``: place, x, y."""
    is_person = count == len(PERSON)
    colours = PERSON if is_person else PALETTE
    dots = tuple(Dot(place, x, y, colours[place % len(colours)]) for place, x, y in seen)
    at = {place: (x, y) for place, x, y in seen}
    limbs = (
        Limb(*at[one], *at[other], colour)
        for one, other, colour in LIMBS
        if is_person and one in at and other in at
    )
    return dots, tuple(limbs)
