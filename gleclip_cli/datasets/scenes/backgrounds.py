"""Backgrounds of the scenes world: nine kinds of stuff, textured, some below a horizon."""

import cv2
import numpy as np
from numpy.typing import NDArray

Rng = np.random.Generator
Image = NDArray[np.float32]

TYPICAL: dict[str, tuple[str, ...]] = {
    "sky": ("aeroplane", "bird"),
    "water": ("boat",),
    "road": ("bicycle", "bus", "car"),
    "rails": ("train",),
    "grass": ("cow", "dog", "horse"),
    "room": ("cat", "chair"),
    "sand": (),
    "snow": (),
    "forest": (),
}
"""Background -> classes that mostly stand before it: co-occurrence misleads tag-only methods."""

_SKY = (150, 190, 230)


def noise(rng: Rng, height: int, width: int, cell: float, squash: float = 1.0) -> Image:
    """Smooth noise of about unit deviation, (height, width).

    `cell` is the size of a blob in pixels; `squash` > 1 flattens blobs into horizontal streaks.
    """
    rows = max(2, round(height / cell * squash))
    columns = max(2, round(width / cell))
    coarse = rng.standard_normal((min(rows, height), min(columns, width)), dtype=np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(smooth, dtype=np.float32)


def _stuff(
    rng: Rng,
    height: int,
    width: int,
    colour: tuple[int, int, int],
    unit: float,
    amount: float,
    squash: float = 1.0,
) -> Image:
    base = np.array(colour, dtype=np.float32) + rng.normal(0, 14, 3).astype(np.float32)
    coarse = noise(rng, height, width, unit * 0.2, squash) * amount
    fine = noise(rng, height, width, max(unit * 0.03, 2), squash) * amount
    return np.asarray(base + (coarse + fine)[..., None], dtype=np.float32)


def _below_horizon(rng: Rng, ground: Image, unit: float) -> Image:
    """Put a sky above a horizon somewhere in the upper half, or leave it out of view."""
    height, width = ground.shape[:2]
    horizon = int(height * rng.uniform(-0.3, 0.5))
    if horizon > 0:
        ground[:horizon] = _stuff(rng, horizon, width, _SKY, unit, 5.0, 2.0)
    return ground


def _sky(rng: Rng, height: int, width: int, unit: float) -> Image:
    image = _stuff(rng, height, width, _SKY, unit, 6.0, 1.5)
    clouds = np.clip(noise(rng, height, width, unit * 0.25, 1.6) - 0.3, 0, 1)[..., None]
    return np.asarray(image + clouds * (245 - image) * 0.8, dtype=np.float32)


def _road(rng: Rng, height: int, width: int, unit: float) -> Image:
    image = _stuff(rng, height, width, (120, 118, 120), unit, 8.0)
    y = int(height * rng.uniform(0.55, 0.95))
    thick, dash = max(1, int(unit * 0.03)), max(4, int(unit * 0.16))
    for x in range(int(rng.integers(-dash, 0)), width, 2 * dash):
        cv2.rectangle(image, (x, y), (x + dash, y + thick), (225, 225, 215), -1)
    return _below_horizon(rng, image, unit)


def _rails(rng: Rng, height: int, width: int, unit: float) -> Image:
    image = _stuff(rng, height, width, (140, 122, 104), unit, 14.0)
    y, gap = int(height * rng.uniform(0.55, 0.85)), max(5, int(unit * 0.13))
    for x in range(int(rng.integers(-gap, 0)), width, gap):
        cv2.rectangle(
            image, (x, y - gap // 4), (x + gap // 3, y + gap + gap // 4), (92, 66, 48), -1
        )
    for line in (y, y + gap):
        cv2.rectangle(image, (0, line), (width, line + max(1, gap // 5)), (190, 190, 200), -1)
    return _below_horizon(rng, image, unit)


def _room(rng: Rng, height: int, width: int, unit: float) -> Image:
    wall = tuple(int(v) for v in rng.integers(130, 235, 3))
    image = _stuff(rng, height, width, (wall[0], wall[1], wall[2]), unit, 4.0)
    if rng.random() < 0.6:
        x, y, s = (
            rng.uniform(0, width),
            rng.uniform(0, height * 0.4),
            unit * rng.uniform(0.15, 0.35),
        )
        corner, opposite = (int(x), int(y)), (int(x + s), int(y + s))
        cv2.rectangle(image, corner, opposite, (205, 225, 240), -1)
        cv2.rectangle(image, corner, opposite, (95, 72, 55), max(1, int(unit * 0.025)))
    floor = int(height * rng.uniform(0.5, 0.9))
    image[floor:] = _stuff(rng, height - floor, width, (158, 116, 78), unit, 8.0, 4.0)
    plank = max(5, int(unit * 0.11))
    for y in range(floor, height, plank):
        cv2.line(image, (0, y), (width, y), (96, 68, 44), max(1, int(unit * 0.012)))
    return image


def _forest(rng: Rng, height: int, width: int, unit: float) -> Image:
    image = _stuff(rng, height, width, (52, 92, 48), unit, 20.0)
    for _ in range(int(rng.integers(3, 8))):
        x, half = rng.uniform(0, width), max(1.0, unit * rng.uniform(0.015, 0.05))
        cv2.rectangle(image, (int(x - half), 0), (int(x + half), height), (82, 58, 40), -1)
    return image


def draw_background(rng: Rng, kind: str, height: int, width: int, unit: float) -> Image:
    """Draw `kind` as float32 RGB (height, width, 3), nominally 0 to 255 and not yet clipped.

    `unit` is the number of pixels a whole scene's side would have: it sets the scale of texture.
    """
    if kind == "sky":
        return _sky(rng, height, width, unit)
    if kind == "road":
        return _road(rng, height, width, unit)
    if kind == "rails":
        return _rails(rng, height, width, unit)
    if kind == "room":
        return _room(rng, height, width, unit)
    if kind == "forest":
        return _forest(rng, height, width, unit)
    if kind == "water":
        return _below_horizon(
            rng, _stuff(rng, height, width, (56, 108, 150), unit, 13.0, 5.0), unit
        )
    if kind == "grass":
        return _below_horizon(rng, _stuff(rng, height, width, (96, 150, 68), unit, 13.0), unit)
    if kind == "sand":
        return _below_horizon(rng, _stuff(rng, height, width, (214, 190, 138), unit, 10.0), unit)
    return _below_horizon(rng, _stuff(rng, height, width, (232, 236, 242), unit, 7.0), unit)
