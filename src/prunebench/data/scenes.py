"""The built-in data: deterministic 16:9 scenes with seven kinds of objects.

Every image is drawn from its own random stream ``(seed, split, index)``. So the splits never share
a scene, and a smaller set is the beginning of a larger one: ``val`` is the same whatever ``train``
is.

Some kinds look alike on purpose (ball and ring, box and crate, cross and star): they share colours
and differ only in a hole, a marking or an outline, which small, occluded, blurred or dark objects
hide. That keeps a good detector below a perfect score, so that pruning has something to cost.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from prunebench.common.cores import usable_cores
from prunebench.common.errors import DatasetError
from prunebench.data.folder import label_line, make_once, polygon_line, write_data_yaml
from prunebench.steps.events import Progress, announce

GENERATOR_VERSION: Final = 1
"""Raise it with every change that alters an image or a label: older sets are then made again."""

SCENE_NAMES: Final = dict(enumerate(("ball", "ring", "box", "crate", "cone", "cross", "star")))
SPLITS: Final = ("train", "val", "test")

_HUES: Final = (12.0, 20.0, 45.0, 52.0, 85.0, 118.0, 128.0)  # OpenCV hue, 0..180, by class
_MIN_VISIBLE: Final = 0.4  # an object of which less is seen gets no label and is not drawn
_JPEG_QUALITY: Final = 95
_PROGRESS_EVERY: Final = 25  # scenes between two events, well under a second
_SHIFT: Final = 4  # fixed-point bits of the sub-pixel polygon coordinates

Image = NDArray[np.uint8]
FloatImage = NDArray[np.float32]
Points = NDArray[np.float64]


@dataclass(frozen=True)
class SceneObject:
    """One labelled object: what is visible of it.

    ``box`` is ``(x1, y1, x2, y2)`` in pixels, right and bottom exclusive; ``polygon`` its outline
    through the middles of its pixels, shape ``(points, 2)``, with holes and separate parts joined
    by seams of no width.
    """

    class_id: int
    box: tuple[int, int, int, int]
    polygon: Points = field(compare=False, repr=False)


@dataclass(frozen=True)
class _Sprite:
    """An object before it is composed.

    Attributes:
        alpha: Coverage of the whole frame, 0..255, shape ``(height, width)``.
        window: Rows and columns of the frame outside which the coverage is zero.
        colour: BGR colours inside the window, shape ``(rows, columns, 3)``.
    """

    class_id: int
    alpha: Image
    window: tuple[slice, slice]
    colour: FloatImage


def render_scene(
    rng: np.random.Generator, *, width: int = 320, height: int = 180
) -> tuple[Image, list[SceneObject]]:
    """Draw one scene: the BGR image of shape ``(height, width, 3)`` and its labelled objects."""
    canvas = _background(rng, width, height)
    for _ in range(int(rng.integers(1, 6))):
        _draw_distractor(rng, canvas)
    sprites = _place(rng, width, height)
    for sprite in sprites:
        alpha = (sprite.alpha[sprite.window].astype(np.float32) / 255.0)[..., None]
        part = canvas[sprite.window]
        part += (sprite.colour - part) * alpha
    image = _expose(rng, canvas)
    return image, [
        SceneObject(sprite.class_id, box, mask_polygon(visible))
        for sprite, visible in zip(sprites, _visible_masks(sprites), strict=True)
        if (box := _mask_box(visible)) is not None
    ]


def generate_scenes(
    root: Path,
    *,
    train: int = 400,
    val: int = 100,
    test: int = 100,
    width: int = 320,
    height: int = 180,
    seed: int = 0,
    polygons: bool = False,
) -> Path:
    """Write the scenes in Ultralytics' layout, or reuse a complete set with the same parameters.

    Returns the path of ``data.yaml``.

    Args:
        root: Folder of the set; may be absent. A set made with other parameters is replaced, a
            folder that holds anything else is refused.
        train: Number of images, as of ``val`` and ``test``.
        width: Image width in pixels, at least 64, as is ``height``.
        polygons: Label the visible outline of each object instead of the box around it.

    Raises:
        DatasetError: A parameter is out of range, or ``root`` holds something else.
    """
    counts = {"train": train, "val": val, "test": test}
    for split, count in counts.items():
        if count < 1:
            raise DatasetError(
                f"{split}={count} is no number of images", where="scenes", fix="use 1 or more"
            )
    if min(width, height) < 64:
        problem = f"a scene of {width}x{height} pixels is too small"
        raise DatasetError(problem, where="scenes", fix="use at least 64x64")
    if seed < 0:
        raise DatasetError(f"seed={seed} is negative", where="scenes", fix="use 0 or more")
    parameters: dict[str, Any] = {
        "generator_version": GENERATOR_VERSION,
        "opencv": cv2.__version__,
        "numpy": np.__version__,
        "counts": counts,
        "width": width,
        "height": height,
        "seed": seed,
    }
    if polygons:
        parameters["labels"] = "polygons"
    return make_once(
        root, parameters, lambda folder: _write_set(folder, counts, width, height, seed, polygons)
    )


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


def _write_set(
    root: Path, counts: dict[str, int], width: int, height: int, seed: int, polygons: bool
) -> None:
    for split in SPLITS:
        (root / "images" / split).mkdir(parents=True)
        (root / "labels" / split).mkdir(parents=True)

    def write(place: tuple[int, int]) -> None:
        split_index, index = place
        split = SPLITS[split_index]
        rng = np.random.default_rng([seed, split_index, index])
        image, objects = render_scene(rng, width=width, height=height)
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        stem = f"{split}-{index:05d}"
        (root / "images" / split / f"{stem}.jpg").write_bytes(data.tobytes())
        lines = [
            polygon_line(item.class_id, item.polygon, width, height)
            if polygons
            else label_line(item.class_id, item.box, width, height)
            for item in objects
        ]
        (root / "labels" / split / f"{stem}.txt").write_text("".join(lines), encoding="utf-8")

    wanted = [(number, i) for number, split in enumerate(SPLITS) for i in range(counts[split])]
    # NumPy and OpenCV let other threads run while they compute.
    with ThreadPoolExecutor(usable_cores()) as pool:
        for done, _ in enumerate(pool.map(write, wanted)):
            if done % _PROGRESS_EVERY == 0:
                announce(Progress(done=done, total=len(wanted), unit="scenes"))
    write_data_yaml(root, SPLITS, SCENE_NAMES)


# --- what a scene is made of ---------------------------------------------------------------------


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


def _background(rng: np.random.Generator, width: int, height: int) -> FloatImage:
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


def _draw_distractor(rng: np.random.Generator, canvas: FloatImage) -> None:
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


def _sprite(rng: np.random.Generator, width: int, height: int, size: float) -> tuple[_Sprite, int]:
    """Draw one object in the frame; also how many pixels it would cover if no border cut it off."""
    class_id = int(rng.integers(len(SCENE_NAMES)))
    half = size / 2
    spread = 0.5 * half  # how far over the border the object's centre may leave room for itself
    centre = np.array([rng.uniform(spread, width - spread), rng.uniform(spread, height - spread)])
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
    return _Sprite(class_id, alpha, window, colour), int((whole > 0).sum())


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


def _place(rng: np.random.Generator, width: int, height: int) -> list[_Sprite]:
    """Objects in drawing order, each at least :data:`_MIN_VISIBLE` visible after all are drawn."""
    sprites: list[_Sprite] = []
    areas: list[int] = []
    wanted = int(rng.integers(2, 8))
    for _ in range(wanted * 3):
        if len(sprites) == wanted:
            break
        size = height * float(np.exp(rng.uniform(np.log(0.12), np.log(0.48))))
        sprite, area = _sprite(rng, width, height, size)
        visible = _visible_masks([*sprites, sprite])
        shares = [
            mask.sum() / max(1, full) for mask, full in zip(visible, [*areas, area], strict=True)
        ]
        if min(shares) >= _MIN_VISIBLE:
            sprites.append(sprite)
            areas.append(area)
    return sprites


def _visible_masks(sprites: list[_Sprite]) -> list[NDArray[np.bool_]]:
    """What is seen of each sprite once the later ones lie on top."""
    masks: list[NDArray[np.bool_]] = []
    covered: NDArray[np.bool_] | None = None
    for sprite in reversed(sprites):
        own = sprite.alpha >= 128
        masks.append(own if covered is None else own & ~covered)
        covered = own if covered is None else covered | own
    return masks[::-1]


def _mask_box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return (x, y, x + width, y + height) if width else None


def _expose(rng: np.random.Generator, canvas: FloatImage) -> Image:
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
