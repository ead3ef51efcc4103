"""Maps of GLE-CLIP: probabilities of the trained model, spread along the gated affinity."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from gleclip_cli.model.clip import FrozenClip
from gleclip_cli.model.gleclip import GLECLIP, class_probabilities, features_of
from gleclip_cli.model.grounding_losses import learned_affinity
from gleclip_cli.parallel.device import arithmetic
from gleclip_cli.refine.affinity import gated, part_spread, raised
from gleclip_cli.refine.walk import walk_grid, walked

Spread = Literal["none", "caa", "walk"]
"""What spreads the probabilities of a view over their objects."""


class Grounded:
    """Maps of one view by a trained model.

    With `spread` caa, a map is one third the probabilities, fine but patchy, two thirds what CAA
    makes of them on the patch grid, coarse but whole: each alone is worse. With the model's gate
    CLIP's attention counts where the learned affinity agrees. With walk, the probabilities walk
    along the finest pixel embeddings. What is spread reaches 1: a class that is there is somewhere.
    `labelled` False: that is not known, and a map is as high as its class is likely.
    """

    stretched = False

    def __init__(
        self,
        model: GLECLIP,
        *,
        spread: Spread,
        threshold: float,
        labelled: bool = True,
        precision: str = "fp32",
    ) -> None:
        self._model = model
        self._spread = spread
        self._threshold = threshold
        self._labelled = labelled
        self._precision = precision

    @property
    def clip(self) -> FrozenClip:
        """The network below the model."""
        return self._model.clip

    def __call__(
        self, images: UInt8[Tensor, "b 3 H W"], class_ids: Sequence[Sequence[int]]
    ) -> list[Float[Tensor, "k h w"]]:
        """Return the maps of each image's classes, in [0, 1]."""
        model = self._model
        with arithmetic(self._precision, images.device):
            features = model.clip(
                model.clip.normalise(images),
                calibration=model.calibration,
                blocks=model.blocks,
                attention=self._spread == "caa",
            )
        grounding = model.ground(*features_of(features), images)
        present = present_of(class_ids, model.num_classes).to(images.device)
        shares = class_probabilities(grounding.logits, model.num_classes, present)
        maps = [share[list(ids)] for share, ids in zip(shares, class_ids, strict=True)]
        if self._spread == "none":
            return maps
        if self._labelled:
            maps = [raised(own) for own in maps]
        if self._spread == "walk":
            cells = walk_grid((images.shape[2], images.shape[3]))
            embedded = grounding.pixels.permute(0, 3, 1, 2)
            return [walked(own, [seen], cells) for own, seen in zip(maps, embedded, strict=True)]
        affinity: Sequence[Tensor | None] = [None] * len(maps)
        if model.gate and grounding.joined is not None:
            affinity = list(learned_affinity(grounding.joined))
        grid = (features.dense.shape[2], features.dense.shape[3])
        return [
            part_spread(fine, gated(attention, learned), grid, threshold=self._threshold)
            for fine, attention, learned in zip(maps, features.attention, affinity, strict=True)
        ]


def present_of(class_ids: Sequence[Sequence[int]], num_classes: int) -> Bool[Tensor, "b k"]:
    """Mark the classes of each image; class id 1 is the first."""
    present = torch.zeros(len(class_ids), num_classes, dtype=torch.bool)
    for row, ids in zip(present, class_ids, strict=True):
        row[[i - 1 for i in ids]] = True
    return present
