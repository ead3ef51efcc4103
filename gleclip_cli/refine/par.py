"""Pixel-adaptive refinement (PAR): pixels take over the scores of neighbours that look alike.

Paper: ToCo and WeCLIP. 8 directions at each of 6 dilations make 48 neighbours. With d_j the colour
difference to neighbour j and sigma the deviation of the 48 neighbours' colours,
u_j = -mean over channels of (d_j / (.3 sigma))^2; z_j is the same of the distance r_j.
Weight w_j = softmax_j(u) + .01 softmax_j(z); 20 times, map <- sum_j w_j map_j.
Here: neighbours are visited one by one; nothing is copied 48-fold but the weights themselves.
On the CPU the loops over them are compiled (`shifts`), on a GPU they are torch's.
"""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

DILATIONS = (1, 2, 4, 8, 12, 24)
DIRECTIONS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
SHARPNESS = 0.3
POSITION = 0.01
MAX_PIXELS = 2**20
"""Largest grid by default; its weights take 200 MB, its 20 iterations some 2 s on one core."""

_TINY = 1e-8


@torch.no_grad()
def par(
    image: Float[Tensor, "b c Hi Wi"],
    maps: Float[Tensor, "b k H W"],
    *,
    iterations: int = 20,
    dilations: tuple[int, ...] = DILATIONS,
    position: float = POSITION,
    max_pixels: int = MAX_PIXELS,
) -> Float[Tensor, "b k H W"]:
    """Return `maps` refined by the colours of `image`, in float32 on the grid of the maps.

    An image on another grid is resized to it (bilinear, corners aligned). Colours may have any
    linear scale. Each iteration multiplies the sum of all maps by 1 + `position`, as published;
    `position` 0 leaves that term out. Maps of more than `max_pixels` are refined on a smaller grid
    and enlarged again. Source: WeCLIP, section 3.3; borders are replicated.
    """
    image, maps = image.float(), maps.float()
    if iterations == 0 or maps.shape[1] == 0:
        return maps
    full = (maps.shape[2], maps.shape[3])
    if full[0] * full[1] > max_pixels:
        share = (max_pixels / (full[0] * full[1])) ** 0.5
        grid = (max(1, int(full[0] * share)), max(1, int(full[1] * share)))
        image, maps = _shrunk(image, grid), _shrunk(maps, grid)
    elif image.shape[2:] != maps.shape[2:]:
        image = functional.interpolate(image, full, mode="bilinear", align_corners=True)
    weights = par_weights(image, dilations=dilations, position=position)
    for _ in range(iterations):
        maps = _spread(weights, maps, dilations)
    if maps.shape[2:] != full:
        maps = functional.interpolate(maps, full, mode="bilinear", align_corners=False)
    return maps


@torch.no_grad()
def par_weights(
    image: Float[Tensor, "b c H W"],
    *,
    dilations: tuple[int, ...] = DILATIONS,
    position: float = POSITION,
) -> Float[Tensor, "b j H W"]:
    """Return the weight of each neighbour j, dilation by dilation; they sum to 1 + `position`."""
    distances = _distances if _compiled(image) else _distances_by_torch
    weights = distances(image.float(), dilations)
    torch.softmax(weights, dim=1, out=weights)  # in place: this tensor is the largest by far
    if position:
        weights += position * _position_weights(dilations).to(image)[:, None, None]
    return weights


def _compiled(maps: Tensor) -> bool:
    return maps.device.type == "cpu"


def _distances(
    image: Float[Tensor, "b c H W"], dilations: tuple[int, ...]
) -> Float[Tensor, "b j H W"]:
    """Return the negated colour distances of the neighbours, scaled by their deviation."""
    from gleclip_cli.refine import shifts  # compiled code is loaded only where it is used

    offsets = np.array([(d * down, d * right) for d in dilations for down, right in DIRECTIONS])
    distances = torch.empty(len(image), len(offsets), *image.shape[2:])
    factors = np.float32(SHARPNESS), np.float32(_TINY)
    for padded, out in zip(_padded(image, dilations), distances, strict=True):
        shifts.distances(padded.numpy(), offsets, *factors, out.numpy())
    return distances


def _distances_by_torch(
    image: Float[Tensor, "b c H W"], dilations: tuple[int, ...]
) -> Float[Tensor, "b j H W"]:
    count = len(dilations) * len(DIRECTIONS)
    total, squares = torch.zeros_like(image), torch.zeros_like(image)
    for neighbour in _neighbours(image, dilations):
        difference = neighbour - image  # the deviation does not see a common offset
        total += difference
        squares.addcmul_(difference, difference)
    # Unbiased; rounding may take the variance of equal neighbours below 0.
    variance = squares.addcmul_(total, total, value=-1 / count).clamp_min_(0) / (count - 1)
    scale = (SHARPNESS * (variance.sqrt_() + _TINY)).square_().reciprocal_() / -image.shape[1]
    distances = image.new_empty(len(image), count, *image.shape[2:])
    for index, neighbour in enumerate(_neighbours(image, dilations)):
        difference = (neighbour - image).square_().mul_(scale)
        torch.sum(difference, dim=1, out=distances[:, index])
    return distances


def _spread(
    weights: Float[Tensor, "b j H W"], maps: Float[Tensor, "b k H W"], dilations: tuple[int, ...]
) -> Float[Tensor, "b k H W"]:
    """Return the weighted sum of the neighbours of every pixel."""
    if _compiled(maps):
        from gleclip_cli.refine import shifts

        spread = torch.empty_like(maps, memory_format=torch.contiguous_format)
        parts = zip(weights, _padded(maps, dilations), spread, strict=True)
        for weight, padded, out in parts:
            shifts.spread(weight.numpy(), padded.numpy(), np.array(dilations), out.numpy())
        return spread
    spread = torch.zeros_like(maps)
    for weight, neighbour in zip(weights.unbind(1), _neighbours(maps, dilations), strict=True):
        spread.addcmul_(weight[:, None], neighbour)
    return spread


def _shrunk(maps: Float[Tensor, "b c H W"], grid: tuple[int, int]) -> Float[Tensor, "b c h w"]:
    return functional.interpolate(maps, grid, mode="bilinear", antialias=True, align_corners=False)


def _position_weights(dilations: tuple[int, ...]) -> Float[Tensor, " j"]:
    steps = torch.tensor(DIRECTIONS, dtype=torch.float64).norm(dim=1)
    distance = (torch.tensor(dilations, dtype=torch.float64)[:, None] * steps).flatten()
    return torch.softmax(-(distance / (SHARPNESS * (distance.std() + _TINY))).square(), dim=0)


def _neighbours(
    maps: Float[Tensor, "b c H W"], dilations: tuple[int, ...]
) -> Iterator[Float[Tensor, "b c H W"]]:
    """Yield one view per neighbour."""
    height, width = maps.shape[2:]
    margin = max(dilations)
    padded = _padded(maps, dilations)
    for dilation in dilations:
        for down, right in DIRECTIONS:
            top, left = margin + down * dilation, margin + right * dilation
            yield padded[:, :, top : top + height, left : left + width]


def _padded(
    maps: Float[Tensor, "b c H W"], dilations: tuple[int, ...]
) -> Float[Tensor, "b c _H _W"]:
    """Return maps with a margin in which the border's value stands."""
    return functional.pad(maps, (max(dilations),) * 4, mode="replicate")
