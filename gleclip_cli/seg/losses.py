"""Cross-entropy on pixel labels; every form leaves out what is to be ignored.

The balanced form is the published one for pseudo masks (method guide, section 3.4): background
and foreground are averaged apart, so that a picture which is mostly background does not teach
"background" alone.
Here: a side without pixels counts 0 (the original divides 0 by 0).
"""

from jaxtyping import Float, UInt
from torch import Tensor
from torch.nn import functional

from gleclip_cli.artifacts.labels import ignore_index
from gleclip_cli.datasets.vocabulary import BACKGROUND


def plain_cross_entropy(
    logits: Float[Tensor, "b c h w"],
    labels: UInt[Tensor, "b h w"],
    confidence: Float[Tensor, "b h w"] | None = None,
) -> Float[Tensor, ""]:
    """Mean cross-entropy of all labelled pixels, weighted by `confidence` (0 or more)."""
    losses, weights = _pixel_losses(logits, labels, confidence)
    return _mean(losses, weights)


def balanced_cross_entropy(
    logits: Float[Tensor, "b c h w"],
    labels: UInt[Tensor, "b h w"],
    confidence: Float[Tensor, "b h w"] | None = None,
) -> Float[Tensor, ""]:
    """Half the mean over background pixels plus half the mean over foreground pixels."""
    losses, weights = _pixel_losses(logits, labels, confidence)
    is_background = (labels == BACKGROUND).to(weights.dtype)
    background = _mean(losses, weights * is_background)
    foreground = _mean(losses, weights * (1 - is_background))
    return (background + foreground) / 2


def _pixel_losses(
    logits: Tensor, labels: Tensor, confidence: Tensor | None
) -> tuple[Tensor, Tensor]:
    # fp32 whatever the network computes in: sums over many pixels follow
    losses = functional.cross_entropy(
        logits.float(), labels.long(), ignore_index=ignore_index(labels), reduction="none"
    )
    weights = (labels != ignore_index(labels)).to(losses.dtype)
    return losses, weights if confidence is None else weights * confidence


def _mean(losses: Tensor, weights: Tensor) -> Tensor:
    total = weights.sum()
    # An empty side has only zero terms, so any positive divisor gives 0 and a zero gradient.
    return (losses * weights).sum() / total.where(total > 0, total.new_ones(()))
