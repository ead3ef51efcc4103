"""Class names, templates and descriptions become text embeddings.

Source: CLIP (prompt ensembling) and CLIP-ES: every template is embedded and normalised, the mean
over templates is normalised again. Attribute sentences: ExCEL (CVPR 2025), text enrichment.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from gleclip_cli.model.clip import FrozenClip

_TEXTS_AT_ONCE = 256
_MOST_ITERATIONS = 100


@dataclass(frozen=True)
class Wording:
    """What CLIP reads: all that decides the embeddings of classes and background words.

    `attributes` holds the sentences of each class; none: classes are not enriched.
    """

    prompts: tuple[str, ...]
    background_words: tuple[str, ...]
    templates: tuple[str, ...]
    attributes: tuple[tuple[str, ...], ...] = ()


def text_embeddings(clip: FrozenClip, wording: Wording) -> Float[Tensor, "c e"]:
    """Return L2-normalised embeddings: classes, then background words, which stay as they are."""
    names = (*wording.prompts, *wording.background_words)
    embedded = class_text_embeddings(clip, names, wording.templates)
    if not wording.attributes:
        return embedded
    classes = len(wording.prompts)
    bank = attribute_bank(clip, wording.prompts, wording.templates[0], wording.attributes)
    return torch.cat([enriched(embedded[:classes], bank), embedded[classes:]])


def class_text_embeddings(
    clip: FrozenClip, names: Sequence[str], templates: Sequence[str]
) -> Float[Tensor, "k e"]:
    """Return one L2-normalised embedding per name; each template holds one `{}`."""
    texts = [template.replace("{}", name) for name in names for template in templates]
    embedded = _encoded(clip, texts).reshape(len(names), len(templates), clip.embed_dim)
    return normalize(embedded.mean(dim=1), dim=-1)


def attribute_bank(
    clip: FrozenClip, names: Sequence[str], template: str, sentences: Sequence[Sequence[str]]
) -> Float[Tensor, "a e"]:
    """Return the attributes of a set of classes: centroids of their sentences, not normalised.

    Every sentence follows the template with the text of its class.
    Paper: 112 centroids for 20 classes, 224 for 80. Here: 25 sqrt(k), which gives both.
    """
    texts = [
        f"{template.replace('{}', name)} {sentence}"
        for name, own in zip(names, sentences, strict=True)
        for sentence in own
    ]
    return _centroids(_encoded(clip, texts), round(25 * sqrt(len(names))))


def enriched(texts: Float[Tensor, "k e"], bank: Float[Tensor, "a e"]) -> Float[Tensor, "k e"]:
    """Return class texts with the attributes mixed in that are nearest, L2-normalised.

    Source: ExCEL: the lowest tenth of attributes is left out, the others are weighted by the
    softmax of their products with the text.
    """
    logits, nearest = (texts @ bank.T).topk(len(bank) - len(bank) // 10, dim=1)
    return normalize(texts + torch.einsum("ka,kae->ke", logits.softmax(dim=1), bank[nearest]))


def _encoded(clip: FrozenClip, texts: list[str]) -> Float[Tensor, "t e"]:
    if not texts:
        return torch.zeros(0, clip.embed_dim, device=clip.mean.device)
    return torch.cat(
        [
            clip.encode_texts(clip.tokenizer(texts[start : start + _TEXTS_AT_ONCE]))
            for start in range(0, len(texts), _TEXTS_AT_ONCE)
        ]
    )


def _centroids(points: Float[Tensor, "t e"], count: int) -> Float[Tensor, "a e"]:
    """Return at most `count` centroids: k-means++ from a fixed seed, then Lloyd until they rest."""
    centroids = points[_spread_out(points, count)]
    for _ in range(_MOST_ITERATIONS):
        nearest = _distances(points, centroids).argmin(dim=1)
        members = one_hot(nearest, len(centroids)).to(points.dtype)
        sizes = members.sum(dim=0)[:, None]
        moved = torch.where(sizes > 0, members.T @ points / sizes.clamp(min=1), centroids)
        if torch.equal(moved, centroids):
            break
        centroids = moved
    return centroids


def _spread_out(points: Float[Tensor, "t e"], count: int) -> list[int]:
    """Draw at most `count` different points, far ones more likely (k-means++)."""
    generator = torch.Generator().manual_seed(0)
    chosen = [0]
    squared = _distances(points, points[:1])[:, 0].square()
    while len(chosen) < count and squared.any():
        chosen.append(int(torch.multinomial(squared.cpu(), 1, generator=generator)))
        squared = squared.minimum(_distances(points, points[chosen[-1:]])[:, 0].square())
    return chosen


def _distances(points: Float[Tensor, "t e"], others: Float[Tensor, "a e"]) -> Float[Tensor, "t a"]:
    # Differences, not products: a point is at distance 0 from itself.
    return torch.cdist(points, others, compute_mode="donot_use_mm_for_euclid_dist")
