"""A configured way from pictures to maps: texts and network at hand, one call per batch."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gleclip_cli.cam.fuse import fuse, min_max, view_grid
from gleclip_cli.cam.gradcam import gradcams
from gleclip_cli.cam.similarity import similarity_maps
from gleclip_cli.cam.texts import Embed, wording_of
from gleclip_cli.config import GenCamConfig
from gleclip_cli.datasets.vocabulary import Vocabulary
from gleclip_cli.model.clip import FrozenClip
from gleclip_cli.model.texts import text_embeddings
from gleclip_cli.refine.affinity import caa

_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}

Views = tuple[NDArray[np.uint8], ...]
"""One image at every scale, uint8 (H, W, 3), whole patches."""


class CamMethod:
    """Makes the maps of a batch of images whose views have equal sizes; encodes texts once."""

    def __init__(
        self,
        config: GenCamConfig,
        clip: FrozenClip,
        vocabulary: Vocabulary,
        *,
        embed: Embed = text_embeddings,
    ) -> None:
        wording = wording_of(vocabulary, config.texts, background_texts=config.background_texts)
        self.config = config
        self.clip = clip
        self.texts = embed(clip, wording)
        self._num_classes = len(vocabulary.classes)

    def prepare(self, image: NDArray[np.uint8]) -> Views:
        """Return the image at every scale: bicubic, antialiased, sides rounded up to patches."""
        patch = self.clip.patch_size
        return tuple(
            resize_to_patches(image, view_grid(image.shape[:2], scale=scale, patch=patch), patch)
            for scale in self.config.scales
        )

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the grid (h, w) that the maps of an image of `size` (H, W) have."""
        return max(self.grids(size), key=lambda grid: grid[0] * grid[1])

    def grids(self, size: tuple[int, int]) -> tuple[tuple[int, int], ...]:
        """Return the grid of every scale; images with the same ones fit into one batch."""
        patch = self.clip.patch_size
        return tuple(view_grid(size, scale=scale, patch=patch) for scale in self.config.scales)

    @torch.no_grad()
    def __call__(
        self, images: Sequence[Views], class_ids: Sequence[Sequence[int]]
    ) -> list[NDArray[np.float32]]:
        """Return the maps (k, h, w) in [0, 1] of each image, in the order of its class ids."""
        views: list[list[Tensor]] = [[] for _ in images]
        for pictures in zip(*images, strict=True):
            batch = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
            batch = batch.to(self.texts.device)
            for flipped in (False, True) if self.config.flip else (False,):
                maps = self._view(batch.flip(-1) if flipped else batch, class_ids)
                for own, of_image in zip(views, maps, strict=True):
                    own.append(of_image.flip(-1) if flipped else of_image)
        return [fuse(own).cpu().numpy() for own in views]

    def _view(
        self, images: UInt8[Tensor, "b 3 H W"], class_ids: Sequence[Sequence[int]]
    ) -> list[Float[Tensor, "k h w"]]:
        """Return the normalised maps of each image in one view."""
        config, clip = self.config, self.clip
        gradient = config.method == "clip-es"
        with self._arithmetic():
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
        if not self.config.caa:
            return maps
        parity = self.config.parity
        threshold = self.config.caa_threshold
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
        if not self.config.background_texts:
            mask[:] = True
        return mask.to(self.texts.device)

    def _arithmetic(self) -> AbstractContextManager[object]:
        device = self.texts.device.type
        half = _HALF.get(self.config.precision)
        if half is None or device != "cuda":  # half precision on a CPU is slower, not faster
            return nullcontext()
        return torch.autocast(device, dtype=half)


def resize_to_patches(
    image: NDArray[np.uint8], grid: tuple[int, int], patch: int
) -> NDArray[np.uint8]:
    """Return an image (H, W, 3) as grid x patch pixels by Pillow's antialiased bicubic.

    A side shorter than one patch is padded with its last pixel instead of being enlarged.
    """
    bottom, right = (max(0, patch - side) for side in image.shape[:2])
    if bottom or right:
        image = np.pad(image, ((0, bottom), (0, right), (0, 0)), mode="edge")
    height, width = (cells * patch for cells in grid)
    if image.shape[:2] == (height, width):
        return image
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(resized)
