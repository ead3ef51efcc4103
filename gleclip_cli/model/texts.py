"""Class names and templates become text embeddings.

Source: CLIP (prompt ensembling) and CLIP-ES: every template is embedded and normalised, the mean
over templates is normalised again.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from gleclip_cli.model.clip import FrozenClip

_TEXTS_AT_ONCE = 256


@torch.no_grad()
def class_text_embeddings(
    clip: FrozenClip, names: Sequence[str], templates: Sequence[str]
) -> Float[Tensor, "k e"]:
    """Return one L2-normalised embedding per name; each template holds one `{}`."""
    texts = [template.replace("{}", name) for name in names for template in templates]
    if not texts:
        return torch.zeros(0, clip.embed_dim, device=clip.mean.device)
    embedded = torch.cat(
        [
            clip.encode_texts(clip.tokenizer(texts[start : start + _TEXTS_AT_ONCE]))
            for start in range(0, len(texts), _TEXTS_AT_ONCE)
        ]
    )
    mean = embedded.reshape(len(names), len(templates), -1).mean(dim=1)
    return torch.nn.functional.normalize(mean, dim=-1)
