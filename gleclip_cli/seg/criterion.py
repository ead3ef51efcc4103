"""What a segmentation network is blamed for: cross-entropy of its outputs against a mask."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gleclip_cli.artifacts.labels import ignore_index
from gleclip_cli.model.losses import (
    alone,
    balanced_cross_entropy,
    labels_on_grid,
    plain_cross_entropy,
)
from gleclip_cli.seg.clip_decoder import ClipDecoder
from gleclip_cli.seg.network import SegmentationNetwork
from gleclip_cli.training.batches import Batch


@dataclass(frozen=True)
class PixelCriterion:
    """Loss of a batch: the sum over the network's outputs, each on its own grid.

    `balanced` and `mean_count` as in `model.losses`.
    """

    network: SegmentationNetwork
    balanced: bool = True
    mean_count: Callable[[Tensor], Tensor] = alone

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch on the network's device."""
        images = batch.images.float() / 255
        if batch.features is not None and isinstance(self.network, ClipDecoder):
            (features,) = batch.features
            outputs = [self.network.decode(features.float(), images)]
        else:
            outputs = self.network.training_logits(images)
        cross_entropy = balanced_cross_entropy if self.balanced else plain_cross_entropy
        losses = [
            cross_entropy(
                logits,
                labels_on_grid(batch.masks, logits),
                ignore_index=ignore_index(batch.masks),
                mean_count=self.mean_count,
            )
            for logits in outputs
        ]
        return torch.stack(losses).sum()
