"""Composes a scene: background, distractors, figures from back to front, with an exact mask."""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from gleclip_cli.datasets.scenes.backgrounds import Image, Rng, draw_background, noise
from gleclip_cli.datasets.scenes.figures import FIGURES, draw_distractor
from gleclip_cli.datasets.scenes.shapes import Part

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (190, 52, 46),
    "orange": (226, 132, 44),
    "yellow": (228, 204, 74),
    "green": (82, 140, 66),
    "blue": (58, 94, 176),
    "pink": (224, 142, 162),
    "brown": (122, 84, 54),
    "grey": (132, 132, 136),
    "white": (232, 230, 224),
    "black": (48, 46, 50),
}
CLASS_IDS = {name: k for k, name in enumerate(FIGURES, start=1)}
_SUBPIXEL_BITS = 4  # cv2 takes polygon corners in 1/16 pixel


@dataclass(frozen=True)
class Request:
    """What to place: a class name (None for a distractor), its area in pixels, its body colour."""

    name: str | None
    area: float
    colour: str


@dataclass
class Canvas:
    """A scene in the making: `image` float32 (H, W, 3), `mask` uint8 (H, W), figures so far."""

    image: Image
    mask: NDArray[np.uint8]
    placed: list[tuple[Request, NDArray[np.bool_]]] = field(default_factory=list)

    def visible(self) -> list[tuple[Request, float]]:
        """Return each figure with the share of its drawn pixels that later figures left visible."""
        left, covered = [], np.zeros(self.mask.shape, dtype=bool)
        for request, cover in reversed(self.placed):
            drawn = int(cover.sum())
            left.append((request, float((cover & ~covered).sum()) / max(drawn, 1)))
            covered |= cover
        return left[::-1]


def _corners(outline: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.round(outline * (1 << _SUBPIXEL_BITS)).astype(np.int32)


def _fill(target: NDArray[np.uint8], part: Part, colour: tuple[float, ...]) -> None:
    contours = [_corners(o) for o in part.outlines]
    cv2.fillPoly(target, contours, colour, lineType=cv2.LINE_AA, shift=_SUBPIXEL_BITS)


def _posed(rng: Rng, parts: list[Part], area: float, upright: bool) -> list[Part]:
    """Flip, stretch, turn and scale a figure to cover about `area` pixels, at the origin."""
    tilt = rng.normal(0, 0.08 if upright else 0.6)
    stretch = np.exp(rng.normal(0, 0.12))
    turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    linear = turn @ np.diag([stretch * rng.choice((-1.0, 1.0)), 1 / stretch])
    points = np.concatenate([o for p in parts for o in p.outlines]) @ linear.T
    low, high = points.min(axis=0), points.max(axis=0)
    probe = np.zeros((64, 64), dtype=np.uint8)
    zoom = 62 / float((high - low).max())
    moved = [
        Part(tuple((o @ linear.T - (low + high) / 2) for o in p.outlines), p.tone) for p in parts
    ]
    for part in moved:
        _fill(probe, Part(tuple(o * zoom + 32 for o in part.outlines), part.tone), (1,))
    scale = np.sqrt(area / max(int(probe.sum()), 1)) * zoom
    return [Part(tuple(o * scale for o in p.outlines), p.tone) for p in moved]


def _tones(rng: Rng, colour: str) -> dict[str, tuple[float, ...]]:
    names = list(COLOURS)
    picked = {
        "body": colour,
        "accent": names[rng.integers(len(names))],
        "mark": names[rng.integers(len(names))],
    }
    tones = {
        tone: tuple(np.clip(np.array(COLOURS[name]) + rng.normal(0, 16, 3), 0, 255).tolist())
        for tone, name in picked.items()
    }
    return {**tones, "dark": (34.0, 32.0, 36.0), "light": (226.0, 232.0, 236.0)}


def _textured(rng: Rng, image: Image, height: int, width: int, unit: float) -> Image:
    """Give a figure's surface shading, mottling and sometimes stripes."""
    surface = noise(rng, height, width, max(unit * 0.05, 3)) * rng.uniform(3, 14)
    surface += noise(rng, height, width, unit * 0.4) * rng.uniform(4, 16)
    if rng.random() < 0.25:
        period, angle = unit * rng.uniform(0.05, 0.12), rng.uniform(0, np.pi)
        y, x = np.ogrid[:height, :width]
        phase = (x * np.cos(angle) + y * np.sin(angle)) * (2 * np.pi / period)
        surface += 24 * np.sign(np.sin(phase)).astype(np.float32)
    return np.asarray(image + surface[..., None], dtype=np.float32)


def _tells(parts: list[Part], centre: NDArray[np.float64], height: int, width: int) -> bool:
    """Return whether at least half of the telling part's corners fall inside the picture."""
    corners = np.concatenate([o for p in parts if p.tone == "mark" for o in p.outlines]) + centre
    inside = (corners >= 0).all(axis=1) & (corners < (width, height)).all(axis=1)
    return bool(inside.mean() >= 0.5)


def place(rng: Rng, canvas: Canvas, request: Request, unit: float, keep: float) -> bool:
    """Draw `request` in front of everything; return False if no place was found.

    A place is good when at least `keep` of the figure and half of its telling part lie inside the
    picture, and every figure already there stays at least half visible.
    """
    height, width = canvas.mask.shape
    parts = FIGURES[request.name](rng) if request.name else draw_distractor(rng)
    parts = _posed(rng, parts, request.area, upright=request.name is not None)
    tones = _tones(rng, request.colour)
    for _ in range(8):
        centre = rng.uniform((0.0, 0.0), (width, height))
        if request.name and not _tells(parts, centre, height, width):
            continue
        moved = [Part(tuple(o + centre for o in p.outlines), p.tone) for p in parts]
        cover = np.zeros((height, width), dtype=np.uint8)
        for part in moved:
            _fill(cover, part, (255,))
        inside = cover >= 128
        if inside.sum() < keep * request.area:
            continue
        trial = Canvas(canvas.image, canvas.mask, [*canvas.placed, (request, inside)])
        if request.name and min(share for _, share in trial.visible()) < 0.5:
            continue
        x, y, w, h = cv2.boundingRect(cover)
        spot = (slice(y, y + h), slice(x, x + w))
        layer = np.clip(canvas.image, 0, 255).astype(np.uint8)
        for part in moved:
            _fill(layer, part, tones[part.tone])
        painted = _textured(rng, layer[spot].astype(np.float32), h, w, unit)
        canvas.image[spot][inside[spot]] = painted[inside[spot]]
        if request.name:
            canvas.mask[inside] = CLASS_IDS[request.name]
            canvas.placed.append((request, inside))
        return True
    return False


def compose(
    rng: Rng,
    height: int,
    width: int,
    background: str,
    requests: list[Request],
    *,
    unit: float,
    keep: float,
) -> Canvas:
    """Draw a whole scene of `height` x `width` pixels, `requests` from back to front.

    `unit` is the side in pixels of the scene this picture is a view of (texture scale); `keep` the
    least share of a figure that must lie inside the picture.
    """
    image = draw_background(rng, background, height, width, unit)
    canvas = Canvas(image, np.zeros((height, width), dtype=np.uint8))
    for request in requests:
        place(rng, canvas, request, unit, keep)
    left, right = rng.uniform(0.82, 1.12, 2)
    light = np.linspace(left, right, width, dtype=np.float32)
    canvas.image *= light[None, :, None]
    if rng.random() < 0.3:
        canvas.image = np.asarray(cv2.GaussianBlur(canvas.image, (3, 3), 0), dtype=np.float32)
    canvas.image += rng.standard_normal(canvas.image.shape, dtype=np.float32) * rng.uniform(2, 9)
    return canvas
