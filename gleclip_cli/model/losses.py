"""Cross-entropy on pixel labels; every form leaves out what is to be ignored.

The balanced form is the published one for pseudo masks (method guide, section 3.4): background
and foreground are averaged apart, so that a picture which is mostly background does not teach
"background" alone.
Here: a side without pixels counts 0 (the original divides 0 by 0).

`mean_count`: where a batch is shared among processes, turns the count of one share into the mean
count of all, so that the mean of the shares' losses is the loss of the batch.
"""

from collections.abc import Callable

from jaxtyping import Float, UInt
from torch import Tensor
from torch.nn import functional

BACKGROUND = 0  # the first channel of all logits


def alone(count: Tensor) -> Tensor:
    """The mean count where the batch is not shared."""
    return count


def plain_cross_entropy(
    logits: Float[Tensor, "b c h w"],
    labels: UInt[Tensor, "b h w"],
    confidence: Float[Tensor, "b h w"] | None = None,
    *,
    ignore_index: int,
    mean_count: Callable[[Tensor], Tensor] = alone,
) -> Float[Tensor, ""]:
    """Mean cross-entropy of all labelled pixels, weighted by `confidence` (0 or more)."""
    losses, weights = _pixel_losses(logits, labels, confidence, ignore_index)
    return _mean(losses, weights, mean_count)


def balanced_cross_entropy(
    logits: Float[Tensor, "b c h w"],
    labels: UInt[Tensor, "b h w"],
    confidence: Float[Tensor, "b h w"] | None = None,
    *,
    ignore_index: int,
    mean_count: Callable[[Tensor], Tensor] = alone,
) -> Float[Tensor, ""]:
    """Half the mean over background pixels plus half the mean over foreground pixels."""
    losses, weights = _pixel_losses(logits, labels, confidence, ignore_index)
    is_background = (labels == BACKGROUND).to(weights.dtype)
    background = _mean(losses, weights * is_background, mean_count)
    foreground = _mean(losses, weights * (1 - is_background), mean_count)
    return (background + foreground) / 2


def labels_on_grid(masks: Tensor, logits: Tensor) -> Tensor:
    """Return masks (b, H, W) on the grid of the logits: the label at the centre of each cell."""
    if masks.shape[-2:] == logits.shape[-2:]:
        return masks
    # as floats, which hold every label: torch interpolates no 16-bit integers
    on_grid = functional.interpolate(
        masks[:, None].float(), logits.shape[-2:], mode="nearest-exact"
    )
    return on_grid[:, 0].to(masks.dtype)


def _pixel_losses(
    logits: Tensor, labels: Tensor, confidence: Tensor | None, ignore_index: int
) -> tuple[Tensor, Tensor]:
    # fp32 whatever the network computes in: sums over many pixels follow
    losses = functional.cross_entropy(
        logits.float(), labels.long(), ignore_index=ignore_index, reduction="none"
    )
    weights = (labels != ignore_index).to(losses.dtype)
    return losses, weights if confidence is None else weights * confidence


def _mean(losses: Tensor, weights: Tensor, mean_count: Callable[[Tensor], Tensor]) -> Tensor:
    total = mean_count(weights.sum())
    # An empty side has only zero terms, so any positive divisor gives 0 and a zero gradient.
    return (losses * weights).sum() / total.where(total > 0, total.new_ones(()))
