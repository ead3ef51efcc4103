"""Text-pixel similarity: every patch says how likely each text is.

Here: one softmax over class and background texts at CLIP's own temperature, before any min-max;
it improved every map of the first trials, because backgrounds take what is no object.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gleclip_cli.model.clip import FrozenClip
from gleclip_cli.model.gleclip import text_cosines


@torch.no_grad()
def similarity_maps(
    clip: FrozenClip,
    dense: Float[Tensor, "b e h w"],
    texts: Float[Tensor, "c e"],
    competing: Bool[Tensor, "b c"],
) -> Float[Tensor, "b c h w"]:
    """Return, per patch, the softmax over the competing texts of cosines times CLIP's scale.

    Probabilities: they sum to 1 over texts; a text that does not compete has 0. The background
    score of a patch is the sum over the background texts.
    """
    pixels = dense.permute(0, 2, 3, 1)
    logits = clip.logit_scale * text_cosines(pixels, texts.expand(len(dense), -1, -1))
    return logits.masked_fill(~competing[:, :, None, None], -torch.inf).softmax(dim=1)
