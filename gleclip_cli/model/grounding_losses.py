"""Losses of train-cam from image-level labels and what is made of them.

Source: method guide, section 2 (losses) and 3.4 (pairs). Probabilities are those of the background
first, then the classes. Each loss is a mean over pictures.
"""

import torch
from jaxtyping import Bool, Float, UInt
from torch import Tensor
from torch.nn import functional

_RADIUS = 8
_STEEPNESS = 3.0


def learned_affinity(joined: Float[Tensor, "b h w f"]) -> Float[Tensor, "b n n"]:
    """Return how much patches belong together, in (0, 1): sigmoid(3 (cosine - mean cosine))."""
    unit = functional.normalize(joined.flatten(1, 2), dim=-1)
    cosine = unit @ unit.transpose(1, 2)
    return torch.sigmoid(_STEEPNESS * (cosine - cosine.mean(dim=(1, 2), keepdim=True)))


def pair_loss(
    affinity: Float[Tensor, "b n n"], labels: UInt[Tensor, "b h w"], *, ignore_index: int
) -> Float[Tensor, ""]:
    """Pull patches of one label together and others apart, up to 8 patches away (AFA, WeCLIP)."""
    count, height, width = labels.shape
    near = _neighbourhood(height, width, labels.device)
    flat = labels.flatten(1).long()
    counted = near & (flat != ignore_index)[:, :, None] & (flat != ignore_index)[:, None]
    same = flat[:, :, None] == flat[:, None]
    positive, negative = counted & same, counted & ~same
    apart: Tensor = ((1 - affinity) * positive).sum(dim=(1, 2)) / (positive.sum(dim=(1, 2)) + 1)
    mixed = (affinity * negative).sum(dim=(1, 2)) / (negative.sum(dim=(1, 2)) + 1)
    loss: Tensor = (apart + mixed).sum() / (2 * count)
    return loss


def presence_loss(
    logits: Float[Tensor, "b c h w"], present: Bool[Tensor, "b k"]
) -> Float[Tensor, ""]:
    """Multi-label soft margin: the best evidence of a class against the best of other texts.

    Evidence is the log-sum-exp over pixels, a soft maximum.
    """
    classes = present.shape[1]
    evidence = logits.flatten(2).logsumexp(dim=2)
    rest = evidence[:, classes:].logsumexp(dim=1, keepdim=True) if logits.shape[1] > classes else 0
    return functional.binary_cross_entropy_with_logits(
        evidence[:, :classes] - rest, present.to(logits.dtype)
    )


def area_loss(
    probabilities: Float[Tensor, "b k1 h w"], present: Bool[Tensor, "b k"]
) -> Float[Tensor, ""]:
    """Mean share of the picture that goes to classes which are not in it."""
    share = probabilities[:, 1:].mean(dim=(2, 3))
    return (share * ~present).sum(dim=1).mean()


def variation_loss(
    probabilities: Float[Tensor, "b k1 h w"], images: Float[Tensor, "b 3 H W"]
) -> Float[Tensor, ""]:
    """Total variation of the maps, divided by 1 + the picture's gradient, so that edges may stay.

    `images`: RGB in [0, 1], of any size.
    """
    small = functional.interpolate(images, probabilities.shape[-2:], mode="area")
    total = probabilities.new_zeros(())
    for axis in (-1, -2):
        edge = small.diff(dim=axis).abs().mean(dim=1, keepdim=True)
        total = total + (probabilities.diff(dim=axis).abs() / (1 + 10 * edge)).mean()
    return total


def text_loss(
    scores: Float[Tensor, "b c h w"],
    probabilities: Float[Tensor, "b k1 h w"],
    present: Bool[Tensor, "b k"],
) -> Float[Tensor, ""]:
    """Each present class, averaged over its own map, must be told from all other texts.

    The mean of the scores under a map is the score of the mean pixel embedding, but for its norm.
    """
    weights = probabilities[:, 1:].flatten(2)
    pooled = torch.einsum("bkn,bcn->bkc", weights, scores.flatten(2))
    pooled = pooled / weights.sum(dim=2, keepdim=True).clamp_min(1e-6)
    own = torch.arange(present.shape[1], device=scores.device).expand(len(scores), -1)
    loss = functional.cross_entropy(pooled.transpose(1, 2), own, reduction="none")
    return ((loss * present).sum(dim=1) / present.sum(dim=1).clamp_min(1)).mean()


def _neighbourhood(height: int, width: int, device: torch.device) -> Bool[Tensor, "n n"]:
    rows, columns = torch.meshgrid(
        torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij"
    )
    places = torch.stack([rows.flatten(), columns.flatten()])
    apart = (places[:, :, None] - places[:, None]).abs().amax(dim=0)
    near: Tensor = apart <= _RADIUS
    return near
