"""From a picture to its maps: views at several scales and mirrored, each by one method, fused."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gleclip_cli.cam.fuse import fuse, view_grid
from gleclip_cli.cam.grounded import Grounded
from gleclip_cli.cam.texts import Embed, wording_of
from gleclip_cli.cam.training_free import TrainingFree
from gleclip_cli.config import GenCamConfig
from gleclip_cli.datasets.vocabulary import Vocabulary
from gleclip_cli.model.clip import FrozenClip
from gleclip_cli.model.gleclip import GLECLIP
from gleclip_cli.model.texts import text_embeddings

Views = tuple[NDArray[np.uint8], ...]
"""One image at every scale, uint8 (H, W, 3), whole patches."""


@runtime_checkable  # so that the shape checks of the tests can look at signatures
class ViewMaps(Protocol):
    """Makes the maps of a batch of images in one view.

    `stretched`: each map reaches from 0 to 1, and so does their mean over views.
    """

    @property
    def clip(self) -> FrozenClip:
        """The network that reads the images."""

    @property
    def stretched(self) -> bool:
        """Whether maps reach from 0 to 1."""

    def __call__(
        self, images: UInt8[Tensor, "b 3 H W"], class_ids: Sequence[Sequence[int]], /
    ) -> list[Float[Tensor, "k h w"]]:
        """Return the maps of each image, in the order of its class ids."""


class CamMethod:
    """Makes the maps of a batch of images whose views have equal sizes."""

    def __init__(self, view: ViewMaps, *, scales: Sequence[float], flip: bool) -> None:
        self.clip = view.clip
        self.device = view.clip.mean.device
        self._view = view
        self._scales = tuple(scales)
        self._flip = flip

    def prepare(self, image: NDArray[np.uint8]) -> Views:
        """Return the image at every scale: bicubic, antialiased, sides rounded up to patches."""
        patch = self.clip.patch_size
        return tuple(resize_to_patches(image, grid, patch) for grid in self.grids(image.shape[:2]))

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the patches (h, w) of the largest view of an image of `size` (H, W)."""
        return max(self.grids(size), key=lambda grid: grid[0] * grid[1])

    def grids(self, size: tuple[int, int]) -> tuple[tuple[int, int], ...]:
        """Return the grid of every scale; images with the same ones fit into one batch."""
        patch = self.clip.patch_size
        return tuple(view_grid(size, scale=scale, patch=patch) for scale in self._scales)

    @torch.no_grad()
    def __call__(
        self, images: Sequence[Views], class_ids: Sequence[Sequence[int]]
    ) -> list[NDArray[np.float32]]:
        """Return the maps (k, h, w) in [0, 1] of each image, in the order of its class ids."""
        views: list[list[Tensor]] = [[] for _ in images]
        for pictures in zip(*images, strict=True):
            batch = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).to(self.device)
            for flipped in (False, True) if self._flip else (False,):
                maps = self._view(batch.flip(-1) if flipped else batch, class_ids)
                for own, of_image in zip(views, maps, strict=True):
                    own.append(of_image.flip(-1) if flipped else of_image)
        stretched = self._view.stretched
        return [fuse(own, stretched=stretched).cpu().numpy() for own in views]


def training_free(
    config: GenCamConfig,
    clip: FrozenClip,
    vocabulary: Vocabulary,
    *,
    embed: Embed = text_embeddings,
) -> CamMethod:
    """Return a method that needs no training; texts are encoded here, once."""
    wording = wording_of(vocabulary, config.texts, background_texts=config.background_texts)
    view = TrainingFree(config, clip, embed(clip, wording), len(vocabulary.classes))
    return CamMethod(view, scales=config.scales, flip=config.flip)


def trained(config: GenCamConfig, model: GLECLIP) -> CamMethod:
    """Return the method of a trained model."""
    view = Grounded(
        model,
        spread="caa" if config.caa else "none",
        threshold=config.box_threshold,
        labelled=config.labels == "given",
        precision=config.precision,
    )
    return CamMethod(view, scales=config.scales, flip=config.flip)


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
