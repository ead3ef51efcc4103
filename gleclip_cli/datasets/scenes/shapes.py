"""Shapes that figures are built from: outlines in a plane, x to the right, y down."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """Closed outlines of one colour; where outlines overlap the part has a hole (even-odd rule).

    `tone` is `body`, `accent`, `dark`, `light` or `mark`: the colours of one figure.
    """

    outlines: tuple[Points, ...]
    tone: str


def ellipse(x: float, y: float, rx: float, ry: float) -> Points:
    """Return an ellipse by its centre and radii, 24 corners."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


def box(x0: float, y0: float, x1: float, y1: float) -> Points:
    """Return an upright rectangle by two opposite corners."""
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def stroke(x0: float, y0: float, x1: float, y1: float, width: float) -> Points:
    """Return a straight line of some width as a rectangle."""
    along = np.array([x1 - x0, y1 - y0])
    across = np.array([-along[1], along[0]]) * width / 2 / max(float(np.hypot(*along)), 1e-9)
    start, end = np.array([x0, y0]), np.array([x1, y1])
    return np.stack([start + across, end + across, end - across, start - across])


def part(tone: str, *outlines: Points | list[tuple[float, float]]) -> Part:
    """Return a part of one or more outlines."""
    return Part(tuple(np.asarray(o, dtype=np.float64) for o in outlines), tone)


def wheel(x: float, y: float, r: float) -> list[Part]:
    """Return a tyre and its hub."""
    return [part("dark", ellipse(x, y, r, r)), part("light", ellipse(x, y, r * 0.45, r * 0.45))]
