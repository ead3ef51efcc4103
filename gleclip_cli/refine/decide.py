"""From class scores, small or by bands, to the labels of a whole picture."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from gleclip_cli.artifacts.labels import Labels, label_dtype
from gleclip_cli.refine.bands import enlarged
from gleclip_cli.refine.pseudo_mask import pseudo_mask

Namer = Callable[
    [Float[np.ndarray, "k1 H W"], UInt8[np.ndarray, "H W 3"], Sequence[int]],
    Float[np.ndarray, "k1 H W"],
]
"""Names regions, as `naming.RegionNamer`: scores, picture, classes -> scores."""


@dataclass(frozen=True, eq=False)
class Decision:
    """Class ids (H, W), and the winner's share of all scores (H, W) in [0, 1]."""

    labels: Labels
    confidence: Float[np.ndarray, "H W"]

    @property
    def turned(self) -> "Decision":
        """The same with axes swapped."""
        return Decision(np.ascontiguousarray(self.labels.T), self.confidence.T)


def by_scores(
    scores: Float[np.ndarray, "k h w"],
    class_ids: Sequence[int],
    size: tuple[int, int],
    num_classes: int,
) -> Decision:
    """Decide by scores of at least 0, enlarged to `size`; `class_ids`: one for each of them."""
    decision = _empty(size, num_classes)
    ids = np.asarray(class_ids, decision.labels.dtype)
    for rows, part in enlarged(torch.from_numpy(scores), *size):
        places, decision.confidence[rows] = pseudo_mask(part.numpy())
        decision.labels[rows] = ids[places]
    return decision


def by_logits(
    parts: Iterable[tuple[slice, Float[Tensor, "c r W"]]], size: tuple[int, int], num_classes: int
) -> Decision:
    """Decide by bands of logits of all classes; confidence is the probability of the winner."""
    decision = _empty(size, num_classes)
    for rows, logits in parts:
        largest, labels = logits.max(dim=0)
        decision.labels[rows] = labels.cpu().numpy()
        decision.confidence[rows] = (largest - logits.logsumexp(dim=0)).exp().cpu().numpy()
    return decision


def by_steps(
    image: UInt8[np.ndarray, "H W 3"],
    scores: Float[np.ndarray, "k h w"],
    class_ids: Sequence[int],
    num_classes: int,
    *,
    crf: bool,
    device: str,
    namer: Namer | None = None,
) -> Decision:
    """Decide after a dense CRF, after which a `namer` names regions, on the scores' own grid.

    The background (class id 0) comes first; classes that win nowhere take no part in the CRF.
    """
    size, grid = (image.shape[0], image.shape[1]), scores.shape[1:]
    if grid != size:
        image = cv2.resize(image, grid[::-1], interpolation=cv2.INTER_AREA)
    if crf:
        share = (grid[0] * grid[1] / (size[0] * size[1])) ** 0.5
        scores = _after_crf(image, scores, share, device)
    if namer is not None:
        scores = namer(scores, image, class_ids[1:])
    return by_scores(scores, class_ids, size, num_classes)


def _after_crf(
    image: UInt8[np.ndarray, "h w 3"], scores: Float[np.ndarray, "k h w"], share: float, device: str
) -> Float[np.ndarray, "k h w"]:
    """Return scores after a CRF meant for a picture of which this one has that share of a side."""
    # compiled code is loaded only where the CRF is asked for
    from gleclip_cli.refine.crf import PRESETS, dense_crf

    winners = np.unique(scores.argmax(axis=0))
    if len(winners) == 1:
        return scores
    refined = np.zeros(scores.shape, np.float32)
    settings = PRESETS["deeplab"].scaled(share)
    refined[winners] = dense_crf(image, scores[winners], settings, device=device)
    return refined


def _empty(size: tuple[int, int], num_classes: int) -> Decision:
    return Decision(np.zeros(size, label_dtype(num_classes)), np.zeros(size, np.float32))
