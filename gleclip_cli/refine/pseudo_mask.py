"""From class scores to a pseudo mask: background score, label, confidence.

Paper: CLIP-ES. The background scores (1 - max over classes) ** power, or a constant. Only classes
that the image is tagged with compete, so no other class can appear; there is no ignore band.
Here also: (1 - sum over classes) ** power. GLE-CLIP's probabilities of the tagged classes and of
all background words sum to 1, so that is the mass of these words, until maps are spread.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from gleclip_cli.artifacts.maps import Cam


def background_scores(
    scores: Float[np.ndarray, "k h w"],
    *,
    rule: str = "max",
    power: float = 1.0,
    constant: float | None = None,
) -> Float[np.ndarray, "h w"]:
    """Return the background's score from class scores in [0, 1]; 1 where there is no class.

    `rule`: what is left by the best class (`max`) or by all together (`sum`); `constant`, in
    [0, 1], replaces it. Source: CLIP-ES, its settings for masks.
    """
    if constant is not None:
        return np.full(scores.shape[1:], constant, dtype=np.float32)
    taken = scores.sum(axis=0) if rule == "sum" else scores.max(axis=0, initial=0)
    background: Float[np.ndarray, "h w"] = 1 - np.minimum(taken, 1)
    return background if power == 1 else np.power(background, np.float32(power))


def pseudo_mask(
    scores: Float[np.ndarray, "k1 H W"],
) -> tuple[Int[np.ndarray, "H W"], Float[np.ndarray, "H W"]]:
    """Return the place of the winner per pixel, and its share of the sum of all scores.

    `scores` holds the background first, all at least 0; among equals the first wins. The share
    lies in [1 / (1 + k), 1]; where all scores are 0 it is that minimum. `Cam.labels` turns places
    into class ids.
    """
    winner, total = scores.max(axis=0), scores.sum(axis=0)
    minimum = np.full_like(total, 1 / len(scores))
    share = np.divide(winner, total, out=minimum, where=total > 0)
    return scores.argmax(axis=0), share


def with_background(
    cam: Cam, *, rule: str = "max", power: float = 1.0, constant: float | None = None
) -> Float[np.ndarray, "k1 H W"]:
    """Return the maps at the size of their image with the background's score first."""
    full = replace(cam, scores=cam.enlarged())
    background = background_scores(full.scores, rule=rule, power=power, constant=constant)
    return full.with_background(background)
