"""What GLE-CLIP is blamed for: its distance from the teacher's labels, and what tags forbid."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from gleclip_cli.artifacts.labels import ignore_index
from gleclip_cli.cam.grounded import present_of
from gleclip_cli.config import TrainCamConfig
from gleclip_cli.model.gleclip import GLECLIP, class_probabilities
from gleclip_cli.model.grounding_losses import (
    area_loss,
    learned_affinity,
    pair_loss,
    presence_loss,
    text_loss,
    variation_loss,
)
from gleclip_cli.model.losses import alone, balanced_cross_entropy, labels_on_grid
from gleclip_cli.training.batches import Batch

_SMALLEST = 1e-6


class GroundingCriterion:
    """Weighted sum of the losses of the method guide, section 2; weight 0: not computed.

    The masks of a batch are the teacher's labels; `class_ids`: the tags of every image.
    `mean_count` as in `model.losses`.
    """

    def __init__(
        self,
        model: GLECLIP,
        config: TrainCamConfig,
        class_ids: Mapping[str, Sequence[int]],
        *,
        mean_count: Callable[[Tensor], Tensor] = alone,
    ) -> None:
        self._model = model
        self._config = config
        self._class_ids = class_ids
        self._mean_count = mean_count

    def __call__(self, batch: Batch) -> Tensor:
        """Return the loss of a batch on the model's device."""
        model, config = self._model, self._config
        tokens, patches, vectors = batch.features or model.features(batch.images)
        grounding = model.ground(tokens.float(), patches.float(), vectors.float(), batch.images)
        shares = class_probabilities(grounding.logits, model.num_classes)
        classes = [self._class_ids[image_id] for image_id in batch.image_ids]
        present = present_of(classes, model.num_classes).to(shares.device)
        losses: dict[str, Callable[[], Tensor]] = {
            "seg": lambda: self._pixels(shares, batch.masks),
            "presence": lambda: presence_loss(grounding.logits, present),
            "text": lambda: text_loss(grounding.logits, shares, present),
            "area": lambda: area_loss(shares, present),
            "variation": lambda: variation_loss(shares, batch.images.float() / 255),
        }
        joined = grounding.joined
        if joined is not None:
            losses["pairs"] = lambda: self._pairs(joined, batch.masks)
        weighted = [
            weight * loss()
            for name, loss in losses.items()
            if (weight := getattr(config, f"loss_{name}"))
        ]
        return torch.stack(weighted).sum()

    def _pixels(self, shares: Tensor, masks: Tensor) -> Tensor:
        return balanced_cross_entropy(
            shares.clamp_min(_SMALLEST).log(),
            labels_on_grid(masks, shares),
            ignore_index=ignore_index(masks),
            mean_count=self._mean_count,
        )

    @staticmethod
    def _pairs(joined: Tensor, masks: Tensor) -> Tensor:
        labels = labels_on_grid(masks, joined.permute(0, 3, 1, 2))
        return pair_loss(learned_affinity(joined), labels, ignore_index=ignore_index(masks))
