"""What a segmentation network is blamed for: cross-entropy of its outputs against a mask."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from gleclip_cli.artifacts.labels import ignore_index
from gleclip_cli.model.grounding_losses import learned_affinity, pair_loss
from gleclip_cli.model.losses import (
    alone,
    balanced_cross_entropy,
    labels_on_grid,
    plain_cross_entropy,
)
from gleclip_cli.seg.clip_decoder import ClipDecoder
from gleclip_cli.seg.correction import Correction
from gleclip_cli.seg.network import SegmentationNetwork
from gleclip_cli.training.batches import Batch

Forward = Callable[[Tensor], list[Tensor]]


@dataclass(frozen=True)
class PixelCriterion:
    """Loss of a batch: the sum over the network's outputs, each on its own grid.

    `balanced` and `mean_count` as in `model.losses`; a batch with confidences is weighted by them.
    `forward`: the network's training forward in another form, for instance compiled. `pairs`:
    weight of the pair loss that teaches the tokens of a clip-decoder which patches belong together.
    """

    network: SegmentationNetwork
    balanced: bool = True
    mean_count: Callable[[Tensor], Tensor] = alone
    correction: Correction | None = None
    forward: Forward | None = None
    channels_last: bool = False
    pairs: float = 0.0

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch on the network's device."""
        images = batch.images.float() / 255
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        masks = batch.masks
        if self.correction and self.correction.active:
            masks = self.correction(batch.image_ids, self._taught(images, batch), masks)
        outputs, tokens = self._outputs(images, batch)
        cross_entropy = balanced_cross_entropy if self.balanced else plain_cross_entropy
        losses = [
            cross_entropy(
                logits,
                labels_on_grid(masks, logits),
                None if batch.confidence is None else _weights(batch.confidence, logits),
                ignore_index=ignore_index(masks),
                mean_count=self.mean_count,
            )
            for logits in outputs
        ]
        if tokens is not None and self.pairs:
            losses.append(self.pairs * _pairs(tokens, masks))
        return torch.stack(losses).sum()

    def _outputs(self, images: Tensor, batch: Batch) -> tuple[list[Tensor], Tensor | None]:
        network = self.network
        if isinstance(network, ClipDecoder) and (batch.features is not None or self.pairs):
            features, whole = batch.features or network.features(images)
            tokens = network.tokens(features.float())
            return [network.logits(tokens, whole.float(), images)], tokens
        return (self.forward or network.training_logits)(images), None

    @torch.no_grad()
    def _taught(self, images: Tensor, batch: Batch) -> Tensor:
        """Return the logits of the correcting teacher at the size of the pictures."""
        assert self.correction is not None
        teacher = cast(SegmentationNetwork, self.correction.teacher.network)
        if batch.features is not None and isinstance(teacher, ClipDecoder):
            features, whole = batch.features
            logits = teacher.decode(features.float(), whole.float(), images)
            return functional.interpolate(logits, images.shape[-2:], mode="bilinear")
        taught: Tensor = teacher(images)
        return taught


def _pairs(tokens: Tensor, masks: Tensor) -> Tensor:
    labels = labels_on_grid(masks, tokens.permute(0, 3, 1, 2))
    return pair_loss(learned_affinity(tokens), labels, ignore_index=ignore_index(masks))


def _weights(confidence: Tensor, logits: Tensor) -> Tensor:
    return labels_on_grid(confidence, logits).to(torch.float32) / 255
