"""Views of one image (scales, flip): their sizes, and how their maps become one.

Every view is normalised on its own before the mean: the raw height of a Grad-CAM says how
saturated the softmax was, not how sure the map is.
"""

from collections.abc import Sequence
from math import ceil, floor, sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from gleclip_cli.refine.affinity import min_max

MAX_PATCHES = 4096
"""Upper bound of a view: attention is a matrix of patches by patches, 64 MB at this size."""


def view_grid(size: tuple[int, int], *, scale: float, patch: int) -> tuple[int, int]:
    """Return the patches (h, w) of an image of `size` (H, W) at a scale.

    Both sides are rounded up to whole patches. A view of more than MAX_PATCHES is shrunk, both
    sides by one factor, to at most that many; each side keeps at least one patch.
    """
    height, width = (max(1, ceil(side * scale / patch)) for side in size)
    if height * width <= MAX_PATCHES:
        return height, width
    factor = sqrt(MAX_PATCHES / (height * width))
    height, width = (max(1, floor(side * factor)) for side in (height, width))
    # Where one side was held at one patch, the other is still too long.
    return min(height, MAX_PATCHES), min(width, MAX_PATCHES)


def fuse(
    views: Sequence[Float[Tensor, "k _h _w"]], *, stretched: bool = True
) -> Float[Tensor, "k h w"]:
    """Return the mean of all views on the finest grid (bilinear, half-pixel centres) in [0, 1].

    `stretched`: the mean reaches from 0 to 1 again, as every view does.
    """
    finest = max((view.shape[1:] for view in views), key=lambda grid: grid[0] * grid[1])
    enlarged = [
        view
        if view.shape[1:] == finest
        else torch.nn.functional.interpolate(
            view[None], tuple(finest), mode="bilinear", align_corners=False
        )[0]
        for view in views
    ]
    if len(enlarged) == 1:
        return enlarged[0]
    mean = torch.stack(enlarged).mean(dim=0)
    return min_max(mean) if stretched else mean
