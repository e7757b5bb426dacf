"""What a scene is made of: a background, clutter of no class, objects, and a camera's light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

SCENE_NAMES: Final = dict(enumerate(("ball", "ring", "box", "crate", "cone", "cross", "star")))

_HUES: Final = (12.0, 20.0, 45.0, 52.0, 85.0, 118.0, 128.0)  # OpenCV hue, 0..180, by class
_MIN_VISIBLE: Final = 0.4  # an object of which less is seen gets no label and is not drawn
_SHIFT: Final = 4  # fixed-point bits of the sub-pixel polygon coordinates

Image = NDArray[np.uint8]
FloatImage = NDArray[np.float32]
Points = NDArray[np.float64]


@dataclass(frozen=True)
class Sprite:
    """An object before it is composed.

    Attributes:
        alpha: Coverage of the whole frame, 0..255, shape ``(height, width)``.
        window: Rows and columns of the frame outside which the coverage is zero.
        colour: BGR colours inside the window, shape ``(rows, columns, 3)``.
        outline: Its outer outline, whether or not it is in the frame, shape ``(points, 2)``.
        angle: Radians it is turned by.
    """

    class_id: int
    alpha: Image
    window: tuple[slice, slice]
    colour: FloatImage
    outline: Points
    angle: float


def _hsv(rng: np.random.Generator, hue: float, saturation: tuple[int, int]) -> FloatImage:
    """A BGR colour of shape ``(3,)``, 0..255."""
    pixel = np.array(
        [[[hue % 180, rng.integers(*saturation), rng.integers(80, 250)]]], dtype=np.uint8
    )
    colour: FloatImage = cv2.cvtColor(pixel, cv2.COLOR_HSV2BGR)[0, 0].astype(np.float32)
    return colour


def _smooth_noise(rng: np.random.Generator, width: int, height: int, cells: int) -> FloatImage:
    """Noise of shape ``(height, width)`` in -1..1 whose blobs are about ``width / cells`` wide."""
    coarse = rng.uniform(-1, 1, (max(2, cells * height // width), cells)).astype(np.float32)
    noise = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return noise.astype(np.float32, copy=False)


def background(rng: np.random.Generator, width: int, height: int) -> FloatImage:
    """Two colours that meet in a gradient, blobs, stripes or a board, and grain."""
    first = _hsv(rng, rng.uniform(0, 180), (10, 140))
    second = _hsv(rng, rng.uniform(0, 180), (10, 140))
    kind = int(rng.integers(4))
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    angle = rng.uniform(0, np.pi)
    along = np.float32(np.cos(angle)) * xs / width + np.float32(np.sin(angle)) * ys / height
    if kind == 0:
        mix = along
    elif kind == 1:
        mix = 0.5 + 0.5 * _smooth_noise(rng, width, height, int(rng.integers(4, 24)))
    elif kind == 2:
        mix = 0.5 + 0.5 * np.sign(np.sin(along * np.float32(rng.uniform(10, 60))))
    else:
        period = float(rng.uniform(0.06, 0.2)) * width
        mix = ((np.floor(xs / period) + np.floor(ys / period)) % 2).astype(np.float32)
    mix = np.clip(mix, 0.0, 1.0) * np.float32(rng.uniform(0.3, 1.0))
    canvas: FloatImage = first * (1 - mix[..., None]) + second * mix[..., None]
    grain = _smooth_noise(rng, width, height, width // 4) * np.float32(rng.uniform(0, 22))
    return canvas + grain[..., None]


def draw_distractor(rng: np.random.Generator, canvas: FloatImage) -> None:
    """Draw clutter that is no class: a line, an arc, a bar, a half disc or a blob."""
    height, width = canvas.shape[:2]
    colour = tuple(float(value) for value in _hsv(rng, rng.uniform(0, 180), (20, 230)))
    x, y = int(rng.integers(width)), int(rng.integers(height))
    size = int(rng.uniform(0.05, 0.2) * height)
    angle = float(rng.uniform(0, 360))
    kind = int(rng.integers(5))
    if kind == 0:
        end = (int(rng.integers(width)), int(rng.integers(height)))
        cv2.line(canvas, (x, y), end, colour, int(rng.integers(1, 4)), cv2.LINE_AA)
    elif kind == 1:
        cv2.ellipse(canvas, (x, y), (size, size), angle, 0, 150, colour, 2, cv2.LINE_AA)
    elif kind == 2:
        corners = cv2.boxPoints(((x, y), (size * 2.6, size * 0.5), angle))
        cv2.fillConvexPoly(canvas, corners.astype(np.int32), colour, cv2.LINE_AA)
    elif kind == 3:
        cv2.ellipse(canvas, (x, y), (size, size), angle, 0, 180, colour, -1, cv2.LINE_AA)
    else:
        turns = np.sort(rng.uniform(0, 2 * np.pi, 7))
        radii = size * rng.uniform(0.4, 1.2, 7)
        blob = np.stack([x + radii * np.cos(turns), y + radii * np.sin(turns)], axis=1)
        cv2.fillPoly(canvas, [blob.astype(np.int32)], colour, cv2.LINE_AA)


def _circle(radius: float) -> Points:
    turns = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    return radius * np.stack([np.cos(turns), np.sin(turns)], axis=1)


def _outline(class_id: int, rng: np.random.Generator) -> list[Points]:
    """Outlines in a unit frame (-1..1); a second one is cut out of the first (even-odd rule)."""
    name = SCENE_NAMES[class_id]
    if name == "ball":
        return [_circle(1.0)]
    if name == "ring":
        return [_circle(1.0), _circle(float(rng.uniform(0.35, 0.6)))]
    if name in ("box", "crate"):
        x, y = 0.9, 0.9 * float(rng.uniform(0.7, 1.1))
        return [np.array([[-x, -y], [x, -y], [x, y], [-x, y]])]
    if name == "cone":
        return [np.array([[0.0, -1.0], [rng.uniform(0.65, 0.95), 0.9], [-0.8, 0.9]])]
    if name == "cross":
        a = float(rng.uniform(0.25, 0.38))
        corners = [(-a, -1), (a, -1), (a, -a), (1, -a), (1, a), (a, a)]
        return [np.array(corners + [(-x, -y) for x, y in corners], dtype=np.float64)]
    turns = np.arange(10) * np.pi / 5 - np.pi / 2
    radii = np.where(np.arange(10) % 2 == 0, 1.0, float(rng.uniform(0.38, 0.55)))
    return [np.stack([radii * np.cos(turns), radii * np.sin(turns)], axis=1)]


def _fixed(points: Points) -> NDArray[np.int32]:
    return np.round(points * (1 << _SHIFT)).astype(np.int32)


def _sprite(
    rng: np.random.Generator, width: int, height: int, size: float, *, within: int | None = None
) -> tuple[Sprite, int]:
    """Draw one object in the frame; also how many pixels it would cover if no border cut it off.

    ``within`` is the side of a square in the middle of the frame that it lies in.
    """
    class_id = int(rng.integers(len(SCENE_NAMES)))
    half = size / 2
    spread = 0.5 * half  # how far over the border the object's centre may leave room for itself
    room = np.array([width if within is None else within, height if within is None else within])
    centre = rng.uniform(spread, room - spread) + (np.array([width, height]) - room) / 2
    angle = float(rng.uniform(-0.45, 0.45))
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, sin], [-sin, cos]])
    outlines = [(points * half) @ turn for points in _outline(class_id, rng)]

    whole = np.zeros((int(2.6 * half) + 4, int(2.6 * half) + 4), dtype=np.uint8)
    cv2.fillPoly(whole, [_fixed(points + 1.3 * half + 2) for points in outlines], 255, shift=_SHIFT)

    low = np.floor(outlines[0].min(axis=0) + centre).astype(int) - 1
    high = np.ceil(outlines[0].max(axis=0) + centre).astype(int) + 2
    x1, y1 = np.clip(low, 0, (width, height)).tolist()
    x2, y2 = np.clip(high, 0, (width, height)).tolist()
    window = slice(y1, y2), slice(x1, x2)
    placed = [_fixed(points + centre - (x1, y1)) for points in outlines]
    coverage = np.zeros((y2 - y1, x2 - x1), dtype=np.uint8)
    cv2.fillPoly(coverage, placed, 255, lineType=cv2.LINE_AA, shift=_SHIFT)
    alpha = np.zeros((height, width), dtype=np.uint8)
    alpha[window] = coverage
    colour = _paint(rng, class_id, placed, coverage.shape, max(1, round(size * 0.09)))
    area = int((whole > 0).sum())
    return Sprite(class_id, alpha, window, colour, outlines[0] + centre, angle), area


def _paint(
    rng: np.random.Generator,
    class_id: int,
    placed: list[NDArray[np.int32]],
    shape: tuple[int, ...],
    line: int,
) -> FloatImage:
    """Base colour, markings ``line`` pixels wide and shading, shape ``(*shape, 3)``."""
    typical = rng.uniform() < 0.8
    hue = _HUES[class_id] + rng.normal(0, 9) if typical else float(rng.uniform(0, 180))
    base = _hsv(rng, hue, (90, 240))
    colour: FloatImage = np.empty((*shape, 3), dtype=np.float32)
    colour[:] = base
    marking = base * np.float32(rng.choice([0.45, 0.6, 1.35, 1.6]))
    marking_bgr = tuple(float(min(value, 255.0)) for value in marking)
    if SCENE_NAMES[class_id] == "crate":
        for start, end in ((0, 2), (1, 3)):
            ends = placed[0][start].tolist(), placed[0][end].tolist()
            cv2.line(colour, ends[0], ends[1], marking_bgr, line, cv2.LINE_AA, _SHIFT)
    if rng.uniform() < 0.6:
        cv2.polylines(colour, placed, True, marking_bgr, line, cv2.LINE_AA, _SHIFT)
    ys = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None, None]
    colour *= 1 + ys * np.float32(rng.uniform(-0.3, 0.3))
    return colour


def place(rng: np.random.Generator, width: int, height: int) -> list[Sprite]:
    """Objects in drawing order, each at least :data:`_MIN_VISIBLE` visible after all are drawn."""
    sprites: list[Sprite] = []
    areas: list[int] = []
    wanted = int(rng.integers(2, 8))
    for _ in range(wanted * 3):
        if len(sprites) == wanted:
            break
        size = height * float(np.exp(rng.uniform(np.log(0.12), np.log(0.48))))
        sprite, area = _sprite(rng, width, height, size)
        visible = visible_masks([*sprites, sprite])
        shares = [
            mask.sum() / max(1, full) for mask, full in zip(visible, [*areas, area], strict=True)
        ]
        if min(shares) >= _MIN_VISIBLE:
            sprites.append(sprite)
            areas.append(area)
    return sprites


def place_one(rng: np.random.Generator, width: int, height: int) -> Sprite:
    """An object in the middle square, which is what a centre crop keeps of the frame."""
    side = min(width, height)
    size = side * float(np.exp(rng.uniform(np.log(0.25), np.log(0.7))))
    return _sprite(rng, width, height, size, within=side)[0]


def visible_masks(sprites: list[Sprite]) -> list[NDArray[np.bool_]]:
    """What is seen of each sprite once the later ones lie on top."""
    masks: list[NDArray[np.bool_]] = []
    covered: NDArray[np.bool_] | None = None
    for sprite in reversed(sprites):
        own = sprite.alpha >= 128
        masks.append(own if covered is None else own & ~covered)
        covered = own if covered is None else covered | own
    return masks[::-1]


def expose(rng: np.random.Generator, canvas: FloatImage) -> Image:
    """Light, blur and sensor noise, as a camera would add them."""
    height, width = canvas.shape[:2]
    light = 1 + 0.35 * _smooth_noise(rng, width, height, 3)
    canvas = canvas * (light * np.float32(rng.uniform(0.55, 1.15)))[..., None]
    if rng.uniform() < 0.3:
        shadow = np.ones((height, width), dtype=np.float32)
        corners = rng.uniform(0, 1, (4, 2)) * np.array([width, height])
        cv2.fillConvexPoly(shadow, cv2.convexHull(corners.astype(np.int32)), 0.55)
        canvas = canvas * cv2.GaussianBlur(shadow, (0, 0), 4)[..., None]
    sigma = float(rng.uniform(0.0, 0.0065)) * height
    if sigma > 0.3:
        canvas = cv2.GaussianBlur(canvas, (0, 0), sigma).astype(np.float32, copy=False)
    noise = rng.standard_normal(canvas.shape, dtype=np.float32) * np.float32(rng.uniform(2, 13))
    return np.clip(canvas + noise, 0, 255).round().astype(np.uint8)
