"""Frozen features of every training picture, kept in memory, so that an epoch is cheap.

A picture is seen whole by CLIP, as in prediction; a step cuts windows of whole patches. Scales are
not varied: another scale would be other features.
Here: a mirrored picture goes with the mirrored features of the upright one. CLIP would say
something slightly else, but twice the time and memory buy nothing: 22.2 mIoU so, 22.3 with CLIP's
own features of mirror images (scenes, true masks, 4 passes, an early micro-CLIP).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gleclip_cli.artifacts.labels import Labels, ignore_index
from gleclip_cli.datasets.transforms import pad_to
from gleclip_cli.errors import BadInput
from gleclip_cli.progress import SILENT, Progress
from gleclip_cli.training.batches import Batch, Load, OnBad, Order, to_picture

CACHE_LIMIT = 2 * 1024**3
"""Bytes of pictures and features that may be kept; more, and CLIP runs again in every step."""

_BYTES_PER_PIXEL = 4  # picture and mask
_PER_FORWARD = 8


@runtime_checkable  # so that the shape checks of the tests can look at signatures
class Cacheable(Protocol):
    """A network with a frozen part, whose outputs may be kept.

    `fill`: colour (0 to 255) that pads a picture to whole patches of `patch_size` pixels.
    """

    patch_size: int
    fill: tuple[int, int, int]

    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        """Outputs of the frozen part for pictures (b, 3, H, W), RGB in [0, 1].

        Each is a grid (b, ..., h, w, d) with one cell per patch, or one vector per picture (b, d).
        Half precision must hold them.
        """
        ...

    def bytes_per_patch(self) -> int:
        """Bytes that the grids take per patch, in half precision."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """As of any module; they tell the device."""
        ...


@dataclass(frozen=True)
class _Kept:
    """A padded picture of a certain size before, its padded mask, its grids and vectors.

    `confidence`: none, or one like the mask.
    """

    image: Tensor
    mask: Tensor
    size: tuple[int, int]
    confidence: tuple[Tensor, ...] = ()
    features: tuple[Tensor, ...] = ()


def cache_bytes(network: Cacheable, sizes: Iterable[tuple[int, int]], *, crop: int) -> int:
    """Return what a cache of pictures of these sizes (H, W) takes, but for vectors."""
    patch, per_patch = network.patch_size, network.bytes_per_patch()
    padded = (padded_size(size, crop=crop, patch=patch) for size in sizes)
    return sum(
        h * w * _BYTES_PER_PIXEL + (h // patch) * (w // patch) * per_patch for h, w in padded
    )


def padded_size(size: tuple[int, int], *, crop: int, patch: int) -> tuple[int, int]:
    """Return a size (H, W) in whole patches that holds both the picture and a crop."""
    height, width = (-(-max(side, crop) // patch) * patch for side in size)
    return height, width


class CachedBatches:
    """Batches with features; `crop` is a multiple of the network's patch size.

    Every process keeps all pictures, for its `share` of a batch may be any of them.
    """

    def __init__(
        self,
        network: Cacheable,
        image_ids: Sequence[str],
        load: Load,
        *,
        batch_size: int,
        crop: int,
        flip: bool,
        seed: int,
        on_bad: OnBad,
        share: tuple[int, int] = (0, 1),
        progress: Progress = SILENT,
    ) -> None:
        self._network = network
        self._crop = crop
        self._flip = flip
        self._on_bad = on_bad
        self._kept: dict[str, _Kept] = {}
        self._fill(progress.each(image_ids, total=len(image_ids), label="features"), load)
        self._order = Order(list(self._kept), batch_size, seed, share)

    def steps(self, first: int, last: int) -> Iterator[Batch]:
        """Yield the batches of the steps from `first` to before `last`."""
        drawn = []
        for position in self._order.positions(first, last):
            image_id, seed = self._order.draw(position)
            drawn.append((image_id, *self._window(self._kept[image_id], seed)))
            if len(drawn) == self._order.share_size:
                ids, images, masks, confidence, features = zip(*drawn, strict=True)
                yield Batch(
                    ids,
                    torch.stack(images),
                    torch.stack(masks),
                    tuple(torch.stack(parts) for parts in zip(*features, strict=True)),
                    *(torch.stack(parts) for parts in zip(*confidence, strict=True)),
                )
                drawn = []

    def relabel(self, load: Load) -> None:
        """Take the mask of every kept picture, and its confidence, from `load`.

        One that cannot be read any more stays, and `on_bad` is told.
        """
        for image_id, kept in self._kept.items():
            try:
                _, mask, *confidence = load(image_id)
            except (BadInput, OSError) as error:
                self._on_bad(image_id, error)
                continue
            if mask.shape != kept.size:
                raise ValueError(f"the mask of {image_id} is {mask.shape}, not {kept.size}")
            padded = np.full(kept.mask.shape, ignore_index(mask), mask.dtype)
            padded[: mask.shape[0], : mask.shape[1]] = mask
            weights = _extended(confidence, mask, kept.mask.shape)
            self._kept[image_id] = replace(kept, mask=torch.from_numpy(padded), confidence=weights)

    def _fill(self, image_ids: Iterable[str], load: Load) -> None:
        """Keep every picture that can be read; pictures of one size share a forward."""
        waiting: dict[torch.Size, list[tuple[str, _Kept]]] = {}
        for image_id in image_ids:
            try:
                image, mask, *confidence = load(image_id)
            except (BadInput, OSError) as error:
                self._on_bad(image_id, error)
                continue
            size = padded_size(mask.shape, crop=self._crop, patch=self._network.patch_size)
            pair = pad_to(to_picture(image), torch.tensor(mask), size, fill=self._network.fill)
            alike = waiting.setdefault(pair[1].shape, [])
            weights = _extended(confidence, mask, size)
            alike.append((image_id, _Kept(*pair, mask.shape, weights)))
            if len(alike) == _PER_FORWARD:
                self._keep(waiting.pop(pair[1].shape))
        for alike in waiting.values():
            self._keep(alike)
        # by id: the order of a pass must not depend on which sizes filled up first
        self._kept = dict(sorted(self._kept.items()))

    @torch.no_grad()
    def _keep(self, alike: list[tuple[str, _Kept]]) -> None:
        device = next(self._network.parameters()).device
        stacked = torch.stack([kept.image for _, kept in alike]).to(device).float() / 255
        features = [part.half().cpu() for part in self._network.features(stacked)]
        for index, (image_id, kept) in enumerate(alike):
            # cloned: a slice would keep the whole batch alive
            own = tuple(part[index].clone() for part in features)
            self._kept[image_id] = replace(kept, features=own)

    def _window(
        self, kept: _Kept, seed: int
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Cut picture, mask, confidence and grids at a random place, mirrored or not.

        Vectors stay whole.
        """
        patch, cells = self._network.patch_size, self._crop // self._network.patch_size
        random = np.random.default_rng(seed)
        height, width = (side // patch for side in kept.mask.shape)
        top = int(random.integers(height - cells + 1))
        left = int(random.integers(width - cells + 1))
        rows = slice(top * patch, (top + cells) * patch)
        columns = slice(left * patch, (left + cells) * patch)
        mirrored = self._flip and random.random() < 0.5

        def pixels_of(plane: Tensor) -> Tensor:
            cut = plane[..., rows, columns]
            return cut.flip(-1) if mirrored else cut

        def part_of(feature: Tensor) -> Tensor:
            if feature.ndim == 1:
                return feature
            cut = feature[..., top : top + cells, left : left + cells, :]
            return cut.flip(-2) if mirrored else cut

        confidence = tuple(map(pixels_of, kept.confidence))
        features = tuple(map(part_of, kept.features))
        return pixels_of(kept.image), pixels_of(kept.mask), confidence, features


def _extended(
    planes: Iterable[NDArray[np.uint8]], mask: Labels, size: Sequence[int]
) -> tuple[Tensor, ...]:
    """Pad planes of the mask's shape to a size (H, W) with zeros, in the mask's type."""
    borders = (0, size[1] - mask.shape[1], 0, size[0] - mask.shape[0])
    return tuple(
        nn.functional.pad(torch.tensor(plane.astype(mask.dtype, copy=False)), borders)
        for plane in planes
    )
