"""What happens to a picture and its mask before a network sees them.

Pictures and masks are tv_tensors, so that a mask is always resized by nearest neighbour and never
mixes labels. Padding takes the network's mean colour in the picture (0 after normalisation) and is
ignored in the mask: a border that was never photographed must not be taught as background.
"""

import torch
from jaxtyping import Float, UInt, UInt8
from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from gleclip_cli.artifacts.labels import ignore_index

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Normalise(nn.Module):
    """Colours in [0, 1] to zero mean and unit deviation per channel."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, mean: tuple[float, ...] = IMAGENET_MEAN, std: tuple[float, ...] = IMAGENET_STD
    ) -> None:
        super().__init__()
        # not persistent: constants of the network, not weights
        self.register_buffer("mean", torch.tensor(mean).reshape(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).reshape(3, 1, 1), persistent=False)

    def forward(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b 3 H W"]:
        """Return the standardised pictures."""
        return (images - self.mean) / self.std


class Augment:
    """Random colours, scale, crop to a square, mirror: one picture and its mask, one seed.

    `jitter`: how far brightness, contrast and saturation vary (0 to 1).
    """

    def __init__(
        self,
        crop: int,
        *,
        scales: tuple[float, float] = (1.0, 1.0),
        flip: bool = True,
        jitter: float = 0.0,
        fill: tuple[int, int, int] = (124, 116, 104),
    ) -> None:
        self._crop, self._scales, self._fill = crop, scales, fill
        self._jitter = v2.ColorJitter(jitter, jitter, jitter) if jitter else None
        self._flip = v2.RandomHorizontalFlip(0.5 if flip else 0.0)

    def __call__(
        self,
        image: UInt8[Tensor, "3 H W"],
        mask: UInt[Tensor, "H W"],
        *planes: UInt[Tensor, "H W"],
        seed: int,
    ) -> tuple[Tensor, ...]:
        """Return picture (3, s, s), mask and further planes (s, s), moved alike.

        The same seed gives the same in any process. Planes are treated as the mask is.
        """
        fills = {tv_tensors.Image: self._fill, tv_tensors.Mask: ignore_index(mask)}
        crop = v2.RandomCrop(self._crop, pad_if_needed=True, fill=fills)
        # torchvision draws from the global generator: give it a private state for this pair
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed asks all devices first
            size = self._random_size(*mask.shape)
            parts = tv_tensors.Image(image), *map(tv_tensors.Mask, (mask, *planes))
            if self._jitter is not None:  # before padding, whose colour says nothing
                parts = self._jitter(*parts)
            # bilinear for the picture; `resize` takes nearest for a mask of its own accord
            parts = tuple(functional.resize(part, size, antialias=True) for part in parts)
            moved = self._flip(*crop(*parts))
        return tuple(map(_plain, moved))

    def _random_size(self, height: int, width: int) -> list[int]:
        low, high = self._scales
        factor = low + (high - low) * float(torch.rand(()))
        return [max(1, round(height * factor)), max(1, round(width * factor))]


def pad_to(
    image: UInt8[Tensor, "3 H W"],
    mask: UInt[Tensor, "H W"],
    size: tuple[int, int],
    *,
    fill: tuple[int, int, int],
) -> tuple[UInt8[Tensor, "3 h w"], UInt[Tensor, "h w"]]:
    """Extend to `size` (H, W, at least the present one) to the right and below."""
    height, width = mask.shape
    borders = [0, 0, size[1] - width, size[0] - height]
    padded = functional.pad(tv_tensors.Image(image), borders, fill=list(fill))
    padded_mask = functional.pad(tv_tensors.Mask(mask), borders, fill=ignore_index(mask))
    return _plain(padded), _plain(padded_mask)


def _plain(tensor: Tensor) -> Tensor:
    return tensor.as_subclass(Tensor)
