"""Bidirectional cross-attention (BCA): class texts and pixels read each other.

Paper: names the block and its two directions.
Here: texts read first, pixels read the updated texts. Both attend by similarity, with which CLIP
already tells what belongs together, and take over what the others have beyond their mean: what all
pixels of a picture share says nothing of a class. Gates start at zero, so that an untrained block
returns its inputs. Pixels never attend to pixels: the cost is linear in their number. Multi-head
attention with projections of its own learns the teacher's errors by heart: with it the maps of 100
scenes have 44.5 mIoU, 47.7 without any exchange.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

_SHARPNESS = 20.0


class BidirectionalCrossAttention(nn.Module):
    """One exchange between class texts and pixels; without a direction, its side stays as it is.

    Axes: b images, k texts, n pixels, e width.
    """

    def __init__(self, dim: int, *, text_reads: bool = True, pixels_read: bool = True) -> None:
        super().__init__()
        self.key = nn.Parameter(torch.eye(dim))
        self.text_from_pixels = Reading(dim) if text_reads else None
        self.pixels_from_text = Reading(dim) if pixels_read else None

    def forward(
        self, text: Float[Tensor, "b k e"], pixels: Float[Tensor, "b n e"]
    ) -> tuple[Float[Tensor, "b k e"], Float[Tensor, "b n e"]]:
        """Return updated texts and pixels, shaped as given."""
        seen = functional.normalize(pixels, dim=-1)
        keys = seen @ self.key.T
        if self.text_from_pixels is not None:
            cosines = functional.normalize(text, dim=-1) @ keys.transpose(1, 2)
            text = text + self.text_from_pixels(cosines, seen)
        if self.pixels_from_text is not None:
            said = functional.normalize(text, dim=-1)
            pixels = pixels + self.pixels_from_text(keys @ said.transpose(1, 2), said)
        return text, pixels


class Reading(nn.Module):
    """What one side takes over from the other, by how similar they are; at first nothing."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.eye(dim))
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(_SHARPNESS)))
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(
        self, cosines: Float[Tensor, "b q n"], others: Float[Tensor, "b n e"]
    ) -> Float[Tensor, "b q e"]:
        """Return the gated value of the others' mean by similarity, less their plain mean."""
        weights = (self.log_sharpness.exp() * cosines).softmax(dim=-1)
        beyond = weights @ others - others.mean(dim=1, keepdim=True)
        return self.gate * (beyond @ self.value.T)
