"""Dynamic attention fusion (DAF): what the whole picture says joins what a pixel says.

Paper: weights assigned by similarity balance global semantics and local detail; the global
embedding enters by a dynamic projection.
Here: projection, similarities and weights as in the method guide, section 2. Pixel-text and
pixel-picture cosines live on different scales, so both are standardised over the pixels of a
picture before they compete. A closed gate holds the global share at 0 at first.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

_SHARPNESS = 2.0
_TINY = 1e-6


class DynamicProjection(nn.Module):
    """Projects a global embedding depending on the texts it resembles; at first the identity.

    `dynamic` False: one linear map for every picture.
    """

    def __init__(self, dim: int, *, dynamic: bool = True) -> None:
        super().__init__()
        self.static = nn.Parameter(torch.eye(dim))
        self.by_text = nn.Parameter(torch.zeros(dim, dim)) if dynamic else None

    def forward(
        self,
        global_embed: Float[Tensor, "b e"],
        texts: Float[Tensor, "c e"],
        scale: Float[Tensor, ""],
    ) -> Float[Tensor, "b e"]:
        """Return unit vectors; `scale` multiplies cosines before their softmax."""
        projected = global_embed @ self.static.T
        if self.by_text is not None:
            summary = (scale * global_embed @ texts.T).softmax(dim=-1) @ texts
            projected = projected + (global_embed * summary) @ self.by_text.T
        return functional.normalize(projected, dim=-1)


class DynamicAttentionFusion(nn.Module):
    """Weighs, pixel by pixel, local scores against those of the whole picture.

    `fixed_share`: of the global side, everywhere; nothing is learned. `embeddings`: pixel
    embeddings are mixed instead of scores.
    Axes: b images, n pixels, c texts, e width; all inputs are unit vectors.
    """

    def __init__(self, *, fixed_share: float | None = None, embeddings: bool = False) -> None:
        super().__init__()
        self.fixed_share = fixed_share
        self.embeddings = embeddings
        if fixed_share is None:
            self.stretch = nn.Parameter(torch.ones(2))
            self.shift = nn.Parameter(torch.zeros(2))
            self.gate = nn.Parameter(torch.zeros(()))

    def forward(
        self,
        pixels: Float[Tensor, "b n e"],
        texts: Float[Tensor, "b c e"],
        global_embed: Float[Tensor, "b e"],
    ) -> Float[Tensor, "b n c"]:
        """Return fused cosines of pixels and texts."""
        local = pixels @ texts.transpose(1, 2)
        likeness = pixels @ global_embed[:, :, None]
        share = self._global_share(local.amax(dim=-1), likeness[..., 0])[..., None]
        if self.embeddings:
            mixed = (1 - share) * pixels + share * likeness * global_embed[:, None]
            return functional.normalize(mixed, dim=-1) @ texts.transpose(1, 2)
        return (1 - share) * local + share * (global_embed[:, None] @ texts.transpose(1, 2))

    def _global_share(
        self, local: Float[Tensor, "b n"], whole: Float[Tensor, "b n"]
    ) -> Float[Tensor, "b n"]:
        """Return the weight of the global side from the two similarities of every pixel."""
        if self.fixed_share is not None:
            return torch.full_like(local, self.fixed_share)
        sides = torch.stack([_standardised(local), _standardised(whole)], dim=-1)
        weights = (_SHARPNESS * (sides * self.stretch + self.shift)).softmax(dim=-1)
        return self.gate.tanh() * weights[..., 1]


def _standardised(values: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    centred = values - values.mean(dim=1, keepdim=True)
    return centred / (centred.square().mean(dim=1, keepdim=True) + _TINY).sqrt()
