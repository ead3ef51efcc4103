"""Regions of a mask, each seen alone: what it is called there decides which class it is.

Maps find where things are better than which of the tags they are: a patch knows its neighbours'
classes. A region cut out does not. Relatives: OVSeg, which classifies masked crops, and FGVP, which
blurs what is around.
Here (not in the paper): connected regions of the winner, two views each, and what classes had of
its pixels together is dealt out anew.
"""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float, Integer, UInt8

_MARGIN = 0.25
_BLUR = 0.27
"""Reach of the blur, as a share of a view's side: as a Gaussian with a ninth for deviation."""


def connected_regions(
    places: Integer[np.ndarray, "H W"], *, least: int
) -> Iterator[Bool[np.ndarray, "H W"]]:
    """Yield the regions of `least` pixels or more with one place, not 0, joined by their edges."""
    for place in np.unique(places[places > 0]):
        same = (places == place).astype(np.uint8)
        count, numbers, boxes, _ = cv2.connectedComponentsWithStats(same, connectivity=4)
        for number in range(1, count):
            if boxes[number, cv2.CC_STAT_AREA] >= least:
                yield numbers == number


def views_of(
    image: UInt8[np.ndarray, "H W 3"],
    region: Bool[np.ndarray, "H W"],
    *,
    side: int,
    fill: Sequence[int],
) -> UInt8[np.ndarray, "2 s s 3"]:
    """Return the square around a region, `side` pixels wide: the rest blurred, the rest `fill`."""
    rows, columns = (np.flatnonzero(region.any(axis=axis)) for axis in (1, 0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    high, wide = bottom - top, right - left
    square = round(max(high, wide) * (1 + _MARGIN))
    above, before = (square - high) // 2, (square - wide) // 2
    # what lies in the square beside the region is shown too, where the picture has it
    at_row = np.clip(np.arange(top - above, top - above + square), 0, len(image) - 1)
    at_column = np.clip(np.arange(left - before, left - before + square), 0, image.shape[1] - 1)
    picture = image[at_row][:, at_column]
    own = np.zeros((square, square), np.float32)
    own[above : above + high, before : before + wide] = region[top:bottom, left:right]
    method = cv2.INTER_AREA if square > side else cv2.INTER_LINEAR
    seen, share = (cv2.resize(part, (side, side), interpolation=method) for part in (picture, own))
    across = 2 * round(side * _BLUR) + 1
    around = (cv2.stackBlur(seen, (across, across)), np.array(fill, np.float32))
    weight = share[..., None]
    return np.stack([seen * weight + rest * (1 - weight) for rest in around]).astype(np.uint8)


def renamed(
    scores: Float[np.ndarray, "k1 H W"],
    regions: Sequence[Bool[np.ndarray, "H W"]],
    shares: Float[np.ndarray, "r k1"],
) -> Float[np.ndarray, "k1 H W"]:
    """Deal out what the classes have together in a region by its shares, background first.

    The background keeps what it had and gets its share of the rest.
    """
    dealt = scores.copy()
    for region, share in zip(regions, shares, strict=True):
        together = scores[1:, region].sum(axis=0)
        dealt[1:, region] = share[1:, None] * together
        dealt[0, region] += share[0] * together
    return dealt
