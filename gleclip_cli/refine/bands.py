"""Score maps resized in bands of rows: no photograph has all its classes in memory at its own size.

Bilinear with half-pixel centres, antialiased where it shrinks: what torch's `interpolate` makes of
whole maps.
"""

from collections.abc import Iterator
from math import ceil, floor

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

MAX_PIXELS = 2**21
"""What is not worth doing on every pixel of a larger picture is done on that many."""

_VALUES_AT_ONCE = 2**23  # 32 MB


def bounded(height: int, width: int, most: int = MAX_PIXELS) -> tuple[int, int]:
    """Return the size of a picture, shrunk to at most so many pixels."""
    share = min(1.0, (most / (height * width)) ** 0.5)
    return max(1, int(height * share)), max(1, int(width * share))


def bands(height: int, width: int, classes: int) -> list[slice]:
    """Return rows that are held at once, from the first row to the last."""
    rows = max(1, _VALUES_AT_ONCE // (width * classes))
    return [slice(top, min(top + rows, height)) for top in range(0, height, rows)]


def row_taps(length: int, target: int, rows: slice) -> tuple[slice, Float[Tensor, "r n"]]:
    """Return which of `length` rows make the `rows` of `target`, and with which weights."""
    ratio = length / target
    support = max(1.0, ratio)
    centres = (torch.arange(rows.start, rows.stop, dtype=torch.float64) + 0.5) * ratio
    first = max(0, floor(float(centres[0]) - support))
    last = min(length, ceil(float(centres[-1]) + support))
    places = torch.arange(first, last, dtype=torch.float64) + 0.5
    weights = (1 - (places - centres[:, None]).abs() / support).clamp(min=0)
    return slice(first, last), (weights / weights.sum(1, keepdim=True)).float()


def resized(maps: Float[Tensor, "k _h _w"], height: int, width: int) -> Float[Tensor, "k H W"]:
    """Return whole maps at another size."""
    if maps.shape[-2:] == (height, width):
        return maps
    return functional.interpolate(maps[None], (height, width), mode="bilinear", antialias=True)[0]


def enlarged(
    scores: Float[Tensor, "k h w"], height: int, width: int
) -> Iterator[tuple[slice, Float[Tensor, "k r W"]]]:
    """Yield bands of `scores` at another size."""
    length = scores.shape[1]
    if scores.shape[1:] == (height, width):
        yield slice(0, height), scores
        return
    for rows in bands(height, width, len(scores)):
        taps, weights = row_taps(length, height, rows)
        wide = resized(scores[:, taps], taps.stop - taps.start, width)
        yield rows, weights.to(scores.device) @ wide


class Shrunk:
    """Gathers bands of large maps as maps of (`height`, `width`) on the CPU: `maps`."""

    def __init__(self, classes: int, height: int, width: int) -> None:
        self.maps = torch.zeros(classes, height, width)

    def add(self, rows: slice, scores: Float[Tensor, "k r W"], total: int) -> None:
        """Add the `rows` of maps that have `total` rows in all."""
        height, width = self.maps.shape[1:]
        narrow = resized(scores, scores.shape[1], width).cpu()
        ratio = total / height
        support = max(1.0, ratio)
        top = max(0, floor((rows.start - support) / ratio - 0.5))
        bottom = min(height, ceil((rows.stop + support) / ratio + 0.5))
        taps, weights = row_taps(total, height, slice(top, bottom))
        first, last = max(taps.start, rows.start), min(taps.stop, rows.stop)
        used = weights[:, first - taps.start : last - taps.start]
        self.maps[:, top:bottom] += used @ narrow[:, first - rows.start : last - rows.start]
