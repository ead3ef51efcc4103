"""Random walk: scores flow between neighbours that belong together, and stop at borders.

Paper: PSA and IRN. Affinities in [0, 1] join cells less than 5 apart; T is their power, divided by
its column sums, a cell and itself having 1; the refined map is x T^256. PSA learns features for
that, IRN borders.
Here: T has 69 entries per column, so x T^256 is 256 passes over 34 planes instead of powers of an
n x n matrix; on the CPU they are compiled (`shifts`), on a GPU they are torch's. Affinity is the
cosine of centred features, which needs no training of its own, and 0 where that is negative.
"""

from collections.abc import Sequence
from math import ceil

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

RADIUS = 5
OFFSETS = tuple(
    (down, right)
    for down in range(RADIUS)
    for right in range(1 - RADIUS, RADIUS)
    if down**2 + right**2 < RADIUS**2 and (down, right) > (0, 0)
)
"""34 ways (down, right) to a neighbour; the other 34 are these backwards."""

STRIDE = 4
MAX_CELLS = 2**17
"""Largest grid: at stride 4 a picture of 2 megapixels; 256 steps take some 3 s on one core."""

_CHANNELS_AT_ONCE = 64


def walk_grid(size: tuple[int, int]) -> tuple[int, int]:
    """Return the cells (h, w) of an image (H, W) at stride 4; larger ones from MAX_CELLS on."""
    stride = max(STRIDE, (size[0] * size[1] / MAX_CELLS) ** 0.5)
    return ceil(size[0] / stride), ceil(size[1] / stride)


@torch.no_grad()
def pairs_of(features: Float[Tensor, "c a b"], grid: tuple[int, int]) -> Float[Tensor, "o h w"]:
    """Return how much the cells of `grid` resemble those at every offset, in [0, 1].

    Features may lie on another grid (bilinear, half-pixel centres). Where an offset leads out of
    the grid there is 0.
    """
    unit = functional.normalize(features.float(), dim=0)
    centred = unit - unit.mean(dim=(1, 2), keepdim=True)
    pairs = centred.new_zeros(len(OFFSETS), *grid)
    squares = centred.new_zeros(grid)
    for part in torch.split(centred, _CHANNELS_AT_ONCE):
        if part.shape[1:] != grid:
            part = functional.interpolate(part[None], grid, mode="bilinear")[0]
        squares += part.square().sum(dim=0)
        for plane, offset in zip(pairs, OFFSETS, strict=True):
            here, there = _ends(offset, grid)
            plane[here] += (part[:, *here] * part[:, *there]).sum(dim=0)
    norm = squares.sqrt_().clamp_min_(torch.finfo(squares.dtype).tiny)
    for plane, offset in zip(pairs, OFFSETS, strict=True):
        here, there = _ends(offset, grid)
        plane[here] /= norm[here]
        plane[here] /= norm[there]
    return pairs.clamp_(0, 1)


@torch.no_grad()
def walked(
    maps: Float[Tensor, "k h w"],
    features: Sequence[Float[Tensor, "_c _a _b"]],
    cells: tuple[int, int],
    *,
    exponent: float = 10.0,
    steps: int = 256,
) -> Float[Tensor, "k _h _w"]:
    """Return maps after a walk on a grid of `cells` along all of the features at once.

    A walk lowers the peaks of a map, so each map gets its maximum back.
    """
    pairs = torch.stack([pairs_of(part, cells) for part in features]).prod(dim=0)
    mode = "area" if maps.shape[1] * maps.shape[2] > cells[0] * cells[1] else "bilinear"
    start = functional.interpolate(maps[None].float(), cells, mode=mode)[0]
    flowed = random_walk(start, pairs, exponent=exponent, steps=steps)
    peaks, lowered = (x.amax(dim=(1, 2), keepdim=True) for x in (start, flowed))
    return flowed * (peaks / torch.where(lowered > 0, lowered, 1))


@torch.no_grad()
def random_walk(
    maps: Float[Tensor, "k h w"],
    pairs: Float[Tensor, "o h w"],
    *,
    exponent: float = 10.0,
    steps: int = 256,
) -> Float[Tensor, "k h w"]:
    """Return `maps` after `steps` of the walk, in float32; no score leaves the range of its map.

    `pairs`: per offset, the affinity of a cell to the one that lies there, in [0, 1]. Source: IRN,
    its transition with exponent 10; PSA has 8.
    """
    grid = (maps.shape[1], maps.shape[2])
    margin = RADIUS - 1
    # Rows end in a margin, so every offset is one shift of a flat array.
    stride = grid[1] + margin
    shifts = [down * stride + right for down, right in OFFSETS]
    reach = margin * stride + margin
    planes = pairs.new_zeros(len(OFFSETS), grid[0] * stride + 2 * reach, dtype=torch.float32)
    flow = planes.new_zeros(len(maps) + 1, planes.shape[1])
    for plane, own, offset in zip(_cells(planes, reach, grid), pairs, OFFSETS, strict=True):
        here, _ = _ends(offset, grid)
        plane[here] = own[here].float().pow(exponent)
    _cells(flow, reach, grid)[:-1] = maps
    _cells(flow, reach, grid)[-1] = 1
    total = _gathered(flow[-1:], planes, shifts, reach)
    flow, share = flow[:-1], total.clamp_min_(1).reciprocal_()  # below 1 in the margins alone
    if _compiled(flow):
        flow = _compiled_steps(flow, planes, shifts, share[0], steps)
    else:
        for _ in range(steps):
            flow[:, reach:-reach] = _gathered(flow, planes, shifts, reach).mul_(share)
    return _cells(flow, reach, grid).clone()


def _compiled(maps: Tensor) -> bool:
    return maps.device.type == "cpu"


def _compiled_steps(
    flow: Float[Tensor, "k n"],
    planes: Float[Tensor, "o n"],
    shifts: Sequence[int],
    share: Float[Tensor, " m"],
    steps: int,
) -> Float[Tensor, "k n"]:
    from gleclip_cli.refine.shifts import stepped  # compiled code is loaded only where it is used

    now, then = flow.numpy(), torch.zeros_like(flow).numpy()
    for _ in range(steps):
        stepped(now, planes.numpy(), share.numpy(), np.array(shifts), then)
        now, then = then, now
    return torch.from_numpy(now)


def _cells(flat: Float[Tensor, "a n"], reach: int, grid: tuple[int, int]) -> Float[Tensor, "a h w"]:
    """Return a view of what lies between the margins."""
    inside = flat[:, reach:-reach]
    return inside.view(len(flat), grid[0], inside.shape[1] // grid[0])[:, :, : grid[1]]


def _gathered(
    flow: Float[Tensor, "k n"], planes: Float[Tensor, "o n"], shifts: Sequence[int], reach: int
) -> Float[Tensor, "k m"]:
    """Return, per cell, its own score and those of both its neighbours at every offset."""
    end = flow.shape[1] - reach
    gathered = flow[:, reach:end].clone()
    for plane, shift in zip(planes, shifts, strict=True):
        gathered.addcmul_(plane[reach:end], flow[:, reach + shift : end + shift])
        back = slice(reach - shift, end - shift)
        gathered.addcmul_(plane[back], flow[:, back])
    return gathered


_Part = tuple[slice, slice]


def _ends(offset: tuple[int, int], grid: tuple[int, int]) -> tuple[_Part, _Part]:
    """Return the cells from which an offset stays in the grid, and where it leads them."""
    (down, right), (height, width) = offset, grid
    bottom, end = max(0, height - down), max(0, width - abs(right))
    left, other = max(0, -right), max(0, right)
    here = slice(0, bottom), slice(left, left + end)
    return here, (slice(down, down + bottom), slice(other, other + end))
