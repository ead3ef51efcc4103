"""Masks as polygons along the edges of pixels, so that nothing is lost; and simpler ones.

A point is the corner of a pixel: (0, 0) is the corner of the picture, (W, H) the opposite one.
Regions hang together by sides; a hole is joined to what surrounds it by a slit without width, so
that every region is one polygon. Filled by pycocotools or by any even-odd rule at the centres of
pixels, polygons that were not simplified give the mask again.
"""

from collections import defaultdict
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
) -> list[Int[np.ndarray, "_n 2"]]:
    """Return one polygon per region of `inside`.

    `tolerance`: by how many pixels an outline may be moved so that it needs fewer corners.
    """
    outer: list[Ring] = []
    holes: list[Ring] = []
    for ring, hole in _rings(inside):
        (holes if hole else outer).append(ring)
    holes = [_from_corner(ring) for ring in holes]
    joined = _joined(outer, holes, inside) if holes else outer
    simple = [_simplified(ring, tolerance) for ring in joined] if tolerance else joined
    return [ring for ring in simple if len(ring) >= _CORNERS]


def _rings(inside: Bool[np.ndarray, "H W"]) -> Iterator[tuple[Ring, bool]]:
    """Walk along all outlines with the region at the right hand; tell whether it is a hole's."""
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
            found, hole = _walk(left, start, (1, row, -1, -row))
            corners = np.array(found, np.int64)
            yield np.stack([corners % row, corners // row], axis=1), hole


def _walk(
    left: list[bytearray], start: int, steps: tuple[int, int, int, int]
) -> tuple[list[int], bool]:
    """Take the sides of one outline away from `left`, beginning to the right.

    Returns its corners, and whether it is a hole's, which has more turns to the left.
    """
    at, heading, turns, corners = start, _RIGHT, 0, []
    while True:
        at += steps[heading]
        # Right first: pixels that touch by a corner only stay apart.
        turn = 1 if left[(heading + 1) & 3][at] else 0 if left[heading][at] else -1
        if turn:
            heading = (heading + turn) & 3
            turns += turn
            corners.append(at)
        left[heading][at] = 0
        if at == start and heading == _RIGHT:
            return corners, turns < 0


def _joined(outer: list[Ring], holes: list[Ring], inside: Bool[np.ndarray, "H W"]) -> list[Ring]:
    """Cut a slit from the first corner of every hole to the outline on its left; return outer."""
    rings = [*outer, *holes]
    x, y = np.array([ring[0] for ring in holes]).T
    # 1. where the pixels left of the corner end: all of the region up to there
    columns = np.where(inside, -1, np.arange(inside.shape[1]))
    hits = np.maximum.accumulate(columns, axis=1)[y, x - 1] + 1
    # 2. which side, of which ring, is met there: no two sides share x and row
    sides = np.concatenate([_left_sides(number, ring) for number, ring in enumerate(rings)])
    row = inside.shape[0] + 1
    keys = sides[:, 0] * row + sides[:, 1]
    order = np.argsort(keys)
    met = sides[order[np.searchsorted(keys[order], hits * row + y, side="right") - 1]]
    slits: dict[int, list[tuple[int, int, int, int]]] = defaultdict(list)
    for hole, (_, _, ring, place) in enumerate(met.tolist()):
        slits[ring].append((place, -int(y[hole]), int(hits[hole]), len(outer) + hole))
    # 3. rightmost holes first: what hangs on a hole lies to its right
    for number in [*(np.argsort(-x, kind="stable") + len(outer)).tolist(), *range(len(outer))]:
        if number in slits:
            rings[number] = _with_loops(rings[number], sorted(slits[number]), rings)
    return rings[: len(outer)]


def _left_sides(number: int, ring: Ring) -> NDArray[np.int64]:
    """Sides with the region on their right as (x, top, ring, place of their first corner)."""
    following = np.concatenate([ring[1:], ring[:1]])
    places = np.flatnonzero(following[:, 1] < ring[:, 1])
    numbers = np.full(len(places), number)
    return np.stack([ring[places, 0], following[places, 1], numbers, places], axis=1)


def _with_loops(ring: Ring, slits: list[tuple[int, int, int, int]], rings: list[Ring]) -> Ring:
    """Insert, behind their places, the way along a slit to a hole, around it and back."""
    parts, done = [], 0
    for place, upwards, x, hole in slits:
        loop, end = rings[hole], np.array([[x, -upwards]])
        parts += [ring[done : place + 1], end, loop, loop[:1], end]
        done = place + 1
    return np.concatenate([*parts, ring[done:]])


def _from_corner(ring: Ring) -> Ring:
    """Begin with the upper one of the leftmost corners."""
    first = np.lexsort((ring[:, 1], ring[:, 0]))[0]
    return np.concatenate([ring[first:], ring[:first]])


def _simplified(ring: Ring, tolerance: float) -> Ring:
    """Leave corners out; the ends of slits stay, so that slits stay closed."""
    keys = ring[:, 0] << 32 | ring[:, 1]
    _, where, counts = np.unique(keys, return_inverse=True, return_counts=True)
    kept = np.flatnonzero(counts[where] > 1)
    start = kept[0] if len(kept) else 0
    ring = np.concatenate([ring[start:], ring[:start]])
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
