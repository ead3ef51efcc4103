"""Bidirectional cross-attention (BCA): class texts and pixels read each other.

Paper: names the block and its two directions.
Here: texts read first, pixels read the updated texts; residuals are scaled by vectors that start
at zero, so an untrained block returns its inputs. Pixels never attend to pixels: the cost is
linear in their number.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

_HEAD_WIDTH = 32


class BidirectionalCrossAttention(nn.Module):
    """One exchange between class texts and pixels; without a direction, its side stays as it is.

    Axes: b images, k texts, n pixels, e width.
    """

    def __init__(
        self, dim: int, *, width: int, text_reads: bool = True, pixels_read: bool = True
    ) -> None:
        super().__init__()
        self.text_norm = nn.LayerNorm(dim)
        self.pixel_norm = nn.LayerNorm(dim)
        self.text_from_pixels = CrossAttention(dim, width) if text_reads else None
        self.pixels_from_text = CrossAttention(dim, width) if pixels_read else None
        self.text_scale = nn.Parameter(torch.zeros(dim))
        self.pixel_scale = nn.Parameter(torch.zeros(dim))

    def forward(
        self, text: Float[Tensor, "b k e"], pixels: Float[Tensor, "b n e"]
    ) -> tuple[Float[Tensor, "b k e"], Float[Tensor, "b n e"]]:
        """Return updated texts and pixels, shaped as given."""
        pixels_in = self.pixel_norm(pixels)
        if self.text_from_pixels is not None:
            update = self.text_from_pixels(self.text_norm(text), pixels_in)
            text = text + self.text_scale * update
        if self.pixels_from_text is not None:
            update = self.pixels_from_text(pixels_in, self.text_norm(text))
            pixels = pixels + self.pixel_scale * update
        return text, pixels


class CrossAttention(nn.Module):
    """Multi-head attention of queries to something else, at a width of its own."""

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.heads = max(1, width // _HEAD_WIDTH)
        self.query = nn.Linear(dim, width)
        self.key_value = nn.Linear(dim, 2 * width)
        self.merge = nn.Linear(width, dim)

    def forward(
        self, queries: Float[Tensor, "b q e"], others: Float[Tensor, "b n e"]
    ) -> Float[Tensor, "b q e"]:
        """Return what the queries read from the others."""
        key, value = self.key_value(others).chunk(2, dim=-1)
        attended = functional.scaled_dot_product_attention(
            self._split(self.query(queries)), self._split(key), self._split(value)
        )
        merged: Tensor = self.merge(attended.transpose(1, 2).flatten(2))
        return merged

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.reshape(*tokens.shape[:2], self.heads, -1).transpose(1, 2)
