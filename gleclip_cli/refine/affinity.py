"""Class-aware affinity (CAA): CLIP's own attention spreads each map inside its boxes.

Paper: CLIP-ES. The attention is made doubly stochastic by three Sinkhorn rounds, D; then
T = (D + D^T) / 2, and the refined map is T T (box * cam).
Here: D = diag(row) A diag(column) is never formed, nor is T T: two products of T with all maps at
once cost O(k n^2) instead of O(n^3). Boxes reach the last row and column; CLIP-ES stops one short.
"""

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

SINKHORN_ROUNDS = 3
_PARITY_EPSILON = 1e-7


def sinkhorn_scaling(
    attention: Float[Tensor, "n n"],
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Return `row` and `column` such that diag(row) A diag(column) is nearly doubly stochastic.

    Three rounds, columns first and rows last, so rows sum to 1. A row or column of zeros stays 0.
    """
    smallest = torch.finfo(attention.dtype).tiny
    row = attention.new_ones(attention.shape[0])
    column = row
    for _ in range(SINKHORN_ROUNDS):
        column = (attention.T @ row).clamp_min(smallest).reciprocal()
        row = (attention @ column).clamp_min(smallest).reciprocal()
    return row, column


def doubly_stochastic(attention: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    """Return T = (D + D^T) / 2: the symmetric transition that CAA applies without forming it."""
    scores = attention.float()
    row, column = sinkhorn_scaling(scores)
    scaled = row[:, None] * scores * column
    return (scaled + scaled.T) / 2


def box_mask(
    cams: Float[Tensor, "k h w"], *, threshold: float, parity: bool = False
) -> Bool[Tensor, "k h w"]:
    """Return, per map, the union of the boxes around what exceeds `threshold` of its maximum.

    Maps lie in [0, 1] and are compared as bytes. `parity`: the last row and column are never
    inside (CLIP-ES). A map without anything above has an empty mask.
    """
    levels = (cams.detach().float() * 255).to(torch.uint8).cpu().numpy()
    boxes = [_boxes_of(level, threshold, int(parity)) for level in levels]
    inside = np.stack(boxes) if boxes else np.zeros(levels.shape, dtype=np.bool_)
    return torch.from_numpy(inside).to(cams.device)


def _boxes_of(level: NDArray[np.uint8], threshold: float, short: int) -> NDArray[np.bool_]:
    height, width = level.shape
    above = (level > int(threshold * int(level.max()))).astype(np.uint8)
    contours, _ = cv2.findContours(above, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    inside = np.zeros(level.shape, dtype=np.bool_)
    for contour in contours:
        x, y, box_width, box_height = cv2.boundingRect(contour)
        bottom, right = min(y + box_height, height - short), min(x + box_width, width - short)
        inside[y:bottom, x:right] = True
    return inside


def caa(
    attention: Float[Tensor, "n n"],
    cams: Float[Tensor, "k h w"],
    *,
    threshold: float,
    parity: bool = False,
) -> Float[Tensor, "k h w"]:
    """Return T T (box * cam) for every map, on the grid of n = h w patches, not normalised.

    `attention` is non-negative, row i attends to column j (CLS removed); `cams` lie in [0, 1];
    `threshold` is the share of a map's maximum that opens a box. Computed in float32.
    """
    scores = attention.float()
    row, column = sinkhorn_scaling(scores)
    boxed = cams.float() * box_mask(cams, threshold=threshold, parity=parity)
    spread = boxed.flatten(1)
    # Maps as rows: a matrix times few columns takes several times as long on a CPU.
    for _ in range(2):  # T x = (D x + D^T x) / 2
        spread = (row * ((column * spread) @ scores.T) + column * ((row * spread) @ scores)) / 2
    return spread.reshape(cams.shape)


def min_max(maps: Float[Tensor, "k h w"], *, parity: bool = False) -> Float[Tensor, "k h w"]:
    """Stretch each map to [0, 1]; a constant map becomes 0.

    `parity`: CLIP-ES's form, which divides by 1e-7 + maximum, twice.
    """
    for _ in range(2 if parity else 1):
        maps = maps - maps.amin(dim=(1, 2), keepdim=True)
        top = maps.amax(dim=(1, 2), keepdim=True)
        maps = maps / (top + _PARITY_EPSILON) if parity else maps / torch.where(top > 0, top, 1)
    return maps


def raised(maps: Float[Tensor, "k h w"]) -> Float[Tensor, "k h w"]:
    """Return maps whose maxima are 1, for a class that is there is somewhere. Zeros stay zeros.

    Here, beyond the papers: pseudo masks of scenes gain 2 points, labels of a teacher 4.
    """
    top = maps.amax(dim=(1, 2), keepdim=True)
    return maps / torch.where(top > 0, top, 1)


def part_spread(
    fine: Float[Tensor, "k h w"],
    affinity: Float[Tensor, "n n"],
    grid: tuple[int, int],
    *,
    threshold: float,
    share: float = 2 / 3,
) -> Float[Tensor, "k h w"]:
    """Return fine maps, of which a `share` is what CAA makes of them on the `grid` of patches.

    What is spread is as high as its map.
    """
    coarse = functional.interpolate(fine[None], grid, mode="area")[0]
    spread = min_max(caa(affinity, coarse, threshold=threshold))
    spread = spread * fine.amax(dim=(1, 2), keepdim=True)
    size = (fine.shape[1], fine.shape[2])
    return fine.lerp(functional.interpolate(spread[None], size, mode="bilinear")[0], share)


def gated(
    attention: Float[Tensor, "l n n"], learned: Float[Tensor, "n n"] | None
) -> Float[Tensor, "n n"]:
    """Return the mean of the attention maps that a learned affinity in (0, 1) likes, times it.

    Paper: WeCLIP. Of all maps those are kept whose sum is nearest below that of the affinity:
    sum(A_s - A_l) at most the mean over l. None: the mean of all maps.
    """
    if learned is None:
        return attention.mean(dim=0)
    distance = (learned - attention).sum(dim=(1, 2))
    # rounding may put equal distances above their mean
    kept = distance <= distance.mean() + 1e-6 * distance.abs().max()
    return attention[kept].mean(dim=0) * learned
