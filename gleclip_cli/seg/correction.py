"""Pseudo labels corrected in training by a teacher, the mean of the network's own weights (EMA).

A network learns what labels agree on before it learns their noise. So from half of the training
on, a pixel gets the label its teacher is surer of than a threshold, among the classes the image is
tagged with and background. Ignored pixels, padding among them, stay ignored.
Source: the idea of ADELE (Liu et al., 2022). Here: the teacher is a mean of weights, its start is
fixed, one threshold serves all classes, and a teacher that would take more than half of its pixels
from a class of a picture is not believed for it: a young one may see background everywhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, UInt
from torch import Tensor

from gleclip_cli.artifacts.labels import ignore_index
from gleclip_cli.model.losses import BACKGROUND
from gleclip_cli.training.average import WeightAverage

BEGINS = 0.5
"""Share of the steps before the teacher is listened to."""


@dataclass(frozen=True)
class Correction:
    """Labels of a batch corrected by `teacher`, once it has seen `first` steps.

    `tags`: image id -> class ids; `threshold`: probability (0 to 1) above which it is followed.
    """

    teacher: WeightAverage[Any]
    tags: Mapping[str, Sequence[int]]
    threshold: float
    first: int

    @property
    def active(self) -> bool:
        """Whether the teacher is old enough to be asked."""
        return self.teacher.updates >= self.first

    def __call__(
        self,
        image_ids: Sequence[str],
        logits: Float[Tensor, "b c H W"],
        masks: UInt[Tensor, "b H W"],
    ) -> UInt[Tensor, "b H W"]:
        """Return masks with the teacher's labels where its `logits` are sure."""
        allowed = torch.zeros(logits.shape[:2], dtype=torch.bool, device=logits.device)
        allowed[:, BACKGROUND] = True
        for row, image_id in zip(allowed, image_ids, strict=True):
            row[list(self.tags[image_id])] = True
        possible = logits.float().masked_fill(~allowed[..., None, None], -torch.inf)
        probability, label = possible.softmax(1).max(1)
        old = masks.long()
        sure = (probability > self.threshold) & (old != ignore_index(masks))
        new = torch.where(sure, label, old)
        for before, after in zip(old, new, strict=True):
            for known in before.unique():
                was = before == known
                if 2 * (after[was] == known).sum() < was.sum():
                    after[was] = known
        return new.to(masks.dtype)
