"""Maps without training: CLIP-ES's Grad-CAM, or calibrated similarity; with CAA."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from gleclip_cli.cam.gradcam import gradcams
from gleclip_cli.cam.similarity import similarity_maps
from gleclip_cli.config import GenCamConfig
from gleclip_cli.model.clip import FrozenClip
from gleclip_cli.parallel.device import arithmetic
from gleclip_cli.refine.affinity import caa, min_max


class TrainingFree:
    """Maps of one view by `config.method`; `texts`: classes, then background words."""

    stretched = True

    def __init__(
        self,
        config: GenCamConfig,
        clip: FrozenClip,
        texts: Float[Tensor, "c e"],
        num_classes: int,
    ) -> None:
        self.clip = clip
        self.texts = texts
        self._config = config
        self._num_classes = num_classes

    def __call__(
        self, images: UInt8[Tensor, "b 3 H W"], class_ids: Sequence[Sequence[int]]
    ) -> list[Float[Tensor, "k h w"]]:
        """Return the maps of each image's classes, each stretched to [0, 1]."""
        config, clip = self._config, self.clip
        gradient = config.method == "clip-es"
        with arithmetic(config.precision, images.device):
            features = clip(
                clip.normalise(images),
                calibration="none" if gradient else config.calibration,
                parity=config.parity,
            )
        competing = self._competing(class_ids)
        pairs = [(image, i - 1) for image, ids in enumerate(class_ids) for i in ids]
        index = torch.tensor(pairs, device=images.device).reshape(-1, 2)
        of_image, of_class = index[:, 0], index[:, 1]
        if gradient:
            flat = gradcams(clip, features.last, self.texts, competing, of_image, of_class)
            raw = flat.reshape(len(flat), *features.dense.shape[-2:])
        else:
            raw = similarity_maps(clip, features.dense, self.texts, competing)[of_image, of_class]
        parts = torch.split(raw, [len(ids) for ids in class_ids])
        return [
            self._spread(min_max(maps, parity=config.parity), attention)
            for maps, attention in zip(parts, features.attention, strict=True)
        ]

    def _spread(
        self, maps: Float[Tensor, "k h w"], attention: Float[Tensor, "l n n"]
    ) -> Float[Tensor, "k h w"]:
        if not self._config.caa:
            return maps
        parity = self._config.parity
        threshold = self._config.box_threshold
        refined = caa(attention.mean(dim=0), maps, threshold=threshold, parity=parity)
        return min_max(refined, parity=parity)

    def _competing(self, class_ids: Sequence[Sequence[int]]) -> Bool[Tensor, "b c"]:
        """Mark the texts in each image's softmax: its own classes and all backgrounds (CLIP-ES).

        Without backgrounds all classes compete: a class alone would have probability 1 everywhere.
        """
        mask = torch.zeros(len(class_ids), len(self.texts), dtype=torch.bool)
        mask[:, self._num_classes :] = True
        for row, ids in zip(mask, class_ids, strict=True):
            row[[i - 1 for i in ids]] = True
        if not self._config.background_texts:
            mask[:] = True
        return mask.to(self.texts.device)
