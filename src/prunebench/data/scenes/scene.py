"""One scene, and what is seen of each of its objects."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from prunebench.data.scenes.drawing import (
    Image,
    Points,
    Sprite,
    background,
    draw_distractor,
    expose,
    place,
    place_one,
    visible_masks,
)

KEYPOINTS = ("top", "right", "bottom", "left")
"""The ends of an outline, as the object itself is turned; of an edge its middle."""

FLIPPED = (0, 3, 2, 1)
"""Which of them each one is in a mirror."""


@dataclass(frozen=True)
class SceneObject:
    """One labelled object: what is visible of it.

    ``box`` is ``(x1, y1, x2, y2)`` in pixels, right and bottom exclusive; ``polygon`` its outline
    through the middles of its pixels, shape ``(points, 2)``, with holes and separate parts joined
    by seams of no width. ``corners``, (4, 2), are those of the box around what is visible that is
    turned as the object is, and ``keypoints``, (4, 3), x, y and 2 where it is seen, 1 where another
    object covers it, all 0 where it lies outside the image.
    """

    class_id: int
    box: tuple[int, int, int, int]
    polygon: Points = field(compare=False, repr=False)
    corners: Points = field(compare=False, repr=False)
    keypoints: Points = field(compare=False, repr=False)


def render_scene(
    rng: np.random.Generator, *, width: int = 320, height: int = 180, alone: bool = False
) -> tuple[Image, list[SceneObject]]:
    """Draw one scene: the BGR image of shape ``(height, width, 3)`` and its labelled objects.

    With ``alone`` there is one, which lies in the middle square.
    """
    canvas = background(rng, width, height)
    for _ in range(int(rng.integers(1, 6))):
        draw_distractor(rng, canvas)
    sprites = [place_one(rng, width, height)] if alone else place(rng, width, height)
    for sprite in sprites:
        alpha = (sprite.alpha[sprite.window].astype(np.float32) / 255.0)[..., None]
        part = canvas[sprite.window]
        part += (sprite.colour - part) * alpha
    image = expose(rng, canvas)
    masks = visible_masks(sprites)
    objects = []
    for index, (sprite, visible) in enumerate(zip(sprites, masks, strict=True)):
        if (box := _mask_box(visible)) is not None:
            polygon = mask_polygon(visible)
            corners = _turned_box(polygon, sprite.angle)
            points = _keypoints(sprite, sprites[index + 1 :])
            objects.append(SceneObject(sprite.class_id, box, polygon, corners, points))
    return image, objects


def mask_polygon(mask: NDArray[np.bool_]) -> Points:
    """One closed outline around every part of a mask and its holes, to be filled even-odd.

    From the first part's start it walks to each further part or hole, around it and back, so that
    the way between them encloses nothing. The mask, of shape ``(height, width)``, is not empty; the
    points, shape ``(points, 2)`` in pixels, are the middles of its outermost pixels.
    """
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    first, *others = (contour.reshape(-1, 2) for contour in contours)
    way = [first]
    for other in others:
        way += [first[:1], other, other[:1]]
    # The middle of a pixel lies in it however the coordinates are rounded later.
    return np.concatenate(way).astype(np.float64) + 0.5


def _mask_box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return (x, y, x + width, y + height) if width else None


def _axes(angle: float) -> Points:
    """Directions to the right and downwards as an object sees them that is turned by an angle."""
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def _turned_box(points: Points, angle: float) -> Points:
    """Corners of the box, turned by an angle, around points."""
    along = points @ _axes(angle).T
    (x1, y1), (x2, y2) = along.min(axis=0), along.max(axis=0)
    corners: Points = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]]) @ _axes(angle)
    return corners


def _keypoints(sprite: Sprite, above: list[Sprite]) -> Points:
    height, width = sprite.alpha.shape
    x, y = (sprite.outline @ _axes(sprite.angle).T).T
    found = np.zeros((len(KEYPOINTS), 3))
    for row, far in zip(found, (-y, x, y, -x), strict=True):
        # The middle of an edge that is as far all along.
        px, py = sprite.outline[far > far.max() - 0.01 * np.ptp(far)].mean(axis=0)
        if 0 <= px < width and 0 <= py < height:
            covered = any(other.alpha[int(py), int(px)] >= 128 for other in above)
            row[:] = px, py, 1 if covered else 2
    return found
