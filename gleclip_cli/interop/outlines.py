"""Masks as polygons along the edges of pixels, so that nothing is lost; and simpler ones.

A point is the corner of a pixel: (0, 0) is the corner of the picture, (W, H) the opposite one.
Regions hang together by sides; a hole is joined to what surrounds it by a slit without width, so
that every region is one polygon. Filled by pycocotools or by any even-odd rule at the centres of
pixels, polygons that were not simplified give the mask again.
"""

from collections.abc import Iterator
from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import Bool, Int
from numpy.typing import NDArray

Ring = NDArray[np.int64]
"""Corners (n, 2), x and y, in order; the last is joined to the first."""

_RIGHT, _DOWN, _LEFT, _UP = range(4)
_CORNERS = 3


def polygons(
    inside: Bool[np.ndarray, "H W"], tolerance: float = 0.0
) -> list[Int[np.ndarray, "n 2"]]:
    """Return one polygon per region of `inside`.

    `tolerance`: by how many pixels an outline may be moved so that it needs fewer corners.
    """
    rings = list(_rings(inside))
    outer = [ring for ring in rings if _area(ring) > 0]
    holes = sorted((ring for ring in rings if _area(ring) < 0), key=_leftmost)
    merged = _Merged(outer)
    for hole in holes:
        merged.join(hole)
    simple = [_simplified(ring, tolerance) for ring in merged.rings]
    return [ring for ring in simple if len(ring) >= _CORNERS]


def _rings(inside: Bool[np.ndarray, "H W"]) -> Iterator[Ring]:
    """Walk along all outlines with the region at the right hand: outer ones clockwise."""
    height, width = inside.shape
    padded = np.pad(inside, 1)
    row = width + 1
    sides = [np.zeros((height + 1, row), np.uint8) for _ in range(4)]
    sides[_RIGHT][:height, :width] = inside & ~padded[:-2, 1:-1]
    sides[_DOWN][:height, 1:] = inside & ~padded[1:-1, 2:]
    sides[_LEFT][1:, 1:] = inside & ~padded[2:, 1:-1]
    sides[_UP][1:, :width] = inside & ~padded[1:-1, :-2]
    starts = np.flatnonzero(sides[_RIGHT]).tolist()
    left = [bytearray(side.tobytes()) for side in sides]
    for start in starts:
        if left[_RIGHT][start]:
            corners = np.array(_walk(left, start, (1, row, -1, -row)), np.int64)
            yield np.stack([corners % row, corners // row], axis=1)


def _walk(left: list[bytearray], start: int, steps: tuple[int, int, int, int]) -> list[int]:
    """Take the sides of one outline away from `left`, beginning to the right; return corners."""
    at, heading, corners = start, _RIGHT, []
    while True:
        at += steps[heading]
        # Right first: pixels that touch by a corner only stay apart.
        turns = ((heading + 1) % 4, heading, (heading - 1) % 4)
        turned = next(turn for turn in turns if left[turn][at])
        if turned != heading:
            corners.append(at)
        heading = turned
        left[heading][at] = 0
        if at == start and heading == _RIGHT:
            return corners


class _Merged:
    """Outer rings, to which holes are joined one after the other, leftmost first."""

    def __init__(self, rings: list[Ring]) -> None:
        self.rings = rings
        self._uprights = [_uprights(ring) for ring in rings]

    def join(self, hole: Ring) -> None:
        """Cut a slit from the left upper corner of a hole to the outline on its left."""
        first = np.lexsort((hole[:, 1], hole[:, 0]))[0]
        x, y = hole[first]
        nearest = [_nearest(uprights, x, y) for uprights in self._uprights]
        index = max(range(len(nearest)), key=lambda i: nearest[i][0])
        hit, after = nearest[index]
        slit = np.array([[hit, y]])
        loop = np.roll(hole, -first, axis=0)
        ring = self.rings[index]
        parts = [ring[: after + 1], slit, loop, loop[:1], slit, ring[after + 1 :]]
        self.rings[index] = np.concatenate(parts)
        self._uprights[index] = _uprights(self.rings[index])


def _uprights(ring: Ring) -> NDArray[np.int64]:
    """Vertical sides as (x, top, bottom, place of their first corner)."""
    following = np.roll(ring, -1, axis=0)
    places = np.flatnonzero(ring[:, 0] == following[:, 0])
    ends = np.stack([ring[places, 1], following[places, 1]])
    return np.stack([ring[places, 0], ends.min(axis=0), ends.max(axis=0), places], axis=1)


def _nearest(uprights: NDArray[np.int64], x: int, y: int) -> tuple[int, int]:
    """The x and the place of the nearest side left of the pixels at x in row y; x -1: none."""
    left, top, bottom, places = uprights.T
    seen = np.flatnonzero((left < x) & (top <= y) & (bottom > y))
    if not seen.size:
        return -1, 0
    best = seen[left[seen].argmax()]
    return int(left[best]), int(places[best])


def _simplified(ring: Ring, tolerance: float) -> Ring:
    """Leave corners out; the ends of slits stay, so that slits stay closed."""
    if not tolerance:
        return ring
    _, where, counts = np.unique(ring, axis=0, return_inverse=True, return_counts=True)
    kept = np.flatnonzero(counts[where] > 1)
    start = kept[0] if len(kept) else 0
    ring = np.roll(ring, -start, axis=0)
    ends = [*(kept[1:] - start).tolist(), len(ring)]
    closed = np.concatenate([ring, ring[:1]]).astype(np.int32)
    parts = []
    for begin, end in pairwise([0, *ends]):
        part = closed[begin : end + 1]
        # A loop has no length between its ends: its far point divides it.
        far = int(np.abs(part - part[0]).sum(axis=1).argmax())
        halves = [part[: far + 1], part[far:]] if (part[0] == part[-1]).all() else [part]
        for half in halves:
            parts.append(cv2.approxPolyDP(half[:, None], tolerance, closed=False)[:-1, 0])
    return np.concatenate(parts).astype(np.int64)


def _area(ring: Ring) -> float:
    x, y = ring.T
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()) / 2


def _leftmost(ring: Ring) -> int:
    return int(ring[:, 0].min())
