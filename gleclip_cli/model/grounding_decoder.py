"""Grounding decoder (GD): CLIP's patches become pixel embeddings at several strides.

Paper: names the block and that its pixel-level embeddings are multi-scale.
Here: tokens of several blocks are joined on the patch grid; every further level doubles the grid
and meets a shallow convolution of the picture, the only source of detail finer than a patch.
A level gives a correction, in the space of texts, to what the level before it holds. Corrections
start at zero: an untrained decoder leaves CLIP's own patch embeddings as they are.
"""

from itertools import pairwise
from math import log2

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

_FINEST_STRIDE = 4
_NARROWEST = 16


class GroundingDecoder(nn.Module):
    """Corrections to pixel embeddings, level by level.

    Axes: b images, l blocks, h w patches, d CLIP width, e width of texts.
    """

    def __init__(
        self, clip_width: int, embed_dim: int, *, blocks: int, width: int, levels: int
    ) -> None:
        super().__init__()
        widths = [max(_NARROWEST, width >> level) for level in range(levels)]
        self.project = nn.ModuleList(nn.Linear(clip_width, width) for _ in range(blocks))
        self.join = nn.Linear(blocks * width, width)
        self.grow = nn.ModuleList(GrowingLevel(before, after) for before, after in pairwise(widths))
        self.heads = nn.ModuleList(nn.Linear(width, embed_dim) for width in widths)
        self.gates = nn.Parameter(torch.zeros(levels))

    def forward(
        self, tokens: Float[Tensor, "b l h w d"], images: Float[Tensor, "b 3 H W"]
    ) -> tuple[list[Float[Tensor, "b _h _w e"]], Float[Tensor, "b h w f"]]:
        """Return the correction of every level, coarse to fine, and the joined tokens.

        `images` are normalised. Joined tokens tell which patches belong together.
        """
        parts = [functional.gelu(p(tokens[:, index])) for index, p in enumerate(self.project)]
        joined = self.join(torch.cat(parts, dim=-1))
        hidden = [joined.permute(0, 3, 1, 2)]
        for level in self.grow:
            hidden.append(level(hidden[-1], images))
        return [
            gate * head(functional.gelu(maps).permute(0, 2, 3, 1))
            for gate, head, maps in zip(self.gates, self.heads, hidden, strict=True)
        ], joined


class GrowingLevel(nn.Module):
    """Doubles a grid and joins it with a shallow convolution of the picture."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(before, after, 1)
        self.picture = nn.Sequential(
            nn.Conv2d(3, after // 2, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(after // 2, after, 3, stride=2, padding=1),
            nn.GELU(),
        )
        self.join = nn.Conv2d(2 * after, after, 1)
        self.mix = nn.Sequential(GatedConvolution(after), GatedConvolution(after))

    def forward(
        self, coarse: Float[Tensor, "b f h w"], images: Float[Tensor, "b 3 H W"]
    ) -> Float[Tensor, "b g h2 w2"]:
        """Return maps on the doubled grid."""
        grown = functional.interpolate(self.narrow(coarse), scale_factor=2.0)
        height, width = (4 * side for side in grown.shape[-2:])
        if images.shape[-2:] != (height, width):
            images = functional.interpolate(images, (height, width), mode="bilinear")
        mixed: Tensor = self.mix(self.join(torch.cat([grown, self.picture(images)], dim=1)))
        return mixed


class GatedConvolution(nn.Module):
    """Residual 3 x 3 depthwise and 1 x 1 convolution behind a gate that starts closed.

    Source: TCL's decoder (tanh gates). Here: one gate per channel, depthwise for speed.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, width)
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.pointwise = nn.Conv2d(width, width, 1)
        self.gate = nn.Parameter(torch.zeros(width, 1, 1))

    def forward(self, maps: Float[Tensor, "b f h w"]) -> Float[Tensor, "b f h w"]:
        """Return updated maps."""
        update = self.pointwise(functional.gelu(self.depthwise(self.norm(maps))))
        updated: Tensor = maps + self.gate.tanh() * update
        return updated


def levels_of(patch_size: int, most: int) -> int:
    """Return how many levels lead from patches to about stride 4, `most` at most."""
    return min(most, 1 + max(0, round(log2(patch_size / _FINEST_STRIDE))))
