"""Regions of a mask, each seen alone: what it is called there decides which class it is.

Maps find where things are better than which of the tags they are: a patch knows its neighbours'
classes. A region cut out does not. Relatives: OVSeg, which classifies masked crops, and FGVP, which
blurs what is around.
Here (not in the paper): connected regions of the winner, two views each, and what classes had of
its pixels together is dealt out anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Integer, UInt8

_MARGIN = 0.25
_BLUR = 0.27
"""Reach of the blur, as a share of a view's side: as a Gaussian with a ninth for deviation."""


@dataclass(frozen=True, eq=False)
class Region:
    """Pixels that are joined; `own`: which of those in the box at `top` and `left`."""

    top: int
    left: int
    own: Bool[np.ndarray, "h w"]

    @property
    def box(self) -> tuple[slice, slice]:
        """Rows and columns."""
        high, wide = self.own.shape
        return slice(self.top, self.top + high), slice(self.left, self.left + wide)


def connected_regions(places: Integer[np.ndarray, "H W"], *, least: int, most: int) -> list[Region]:
    """Return the regions of `least` pixels or more that have one place, not 0; the `most` largest.

    Pixels are joined by their edges.
    """
    found: list[tuple[int, Region]] = []
    for place in np.unique(places[places > 0]):
        same = (places == place).astype(np.uint8)
        _, numbers, boxes, _ = cv2.connectedComponentsWithStats(same, connectivity=4)
        for number, (left, top, wide, high, area) in enumerate(boxes.tolist()):
            if number > 0 and area >= least:
                own = numbers[top : top + high, left : left + wide] == number
                found.append((area, Region(top, left, own)))
    found.sort(key=lambda one: -one[0])
    return [region for _, region in found[:most]]


def views_of(
    image: UInt8[np.ndarray, "H W 3"], region: Region, *, side: int, fill: Sequence[int]
) -> UInt8[np.ndarray, "2 s s 3"]:
    """Return the square around a region, `side` pixels wide: the rest blurred, the rest `fill`."""
    high, wide = region.own.shape
    square = round(max(high, wide) * (1 + _MARGIN))
    above, before = (square - high) // 2, (square - wide) // 2
    # what lies in the square beside the region is shown too, where the picture has it
    at_row = np.clip(region.top - above + np.arange(square), 0, len(image) - 1)
    at_column = np.clip(region.left - before + np.arange(square), 0, image.shape[1] - 1)
    picture = image[at_row][:, at_column]
    own = np.zeros((square, square), np.float32)
    own[above : above + high, before : before + wide] = region.own
    method = cv2.INTER_AREA if square > side else cv2.INTER_LINEAR
    seen, share = (cv2.resize(part, (side, side), interpolation=method) for part in (picture, own))
    across = 2 * round(side * _BLUR) + 1
    around = (cv2.stackBlur(seen, (across, across)), np.array(fill, np.float32))
    weight = share[..., None]
    return np.stack([seen * weight + rest * (1 - weight) for rest in around]).astype(np.uint8)


def renamed(
    scores: Float[np.ndarray, "k1 H W"],
    regions: Sequence[Region],
    shares: Float[np.ndarray, "r k1"],
) -> Float[np.ndarray, "k1 H W"]:
    """Deal out what the classes have together in a region by its shares, background first.

    The background keeps what it had and gets its share of the rest.
    """
    dealt = scores.copy()
    for region, share in zip(regions, shares, strict=True):
        inside, there = dealt[:, *region.box], region.own
        together = inside[1:, there].sum(axis=0)
        inside[1:, there] = share[1:, None] * together
        inside[0, there] += share[0] * together
    return dealt
