"""Batches of training pictures: which images a step sees, and how they are augmented.

Everything is a function of seed, step and image id, so that a resumed training, and any number of
loading processes, see the same pixels. Two sources: `AugmentedBatches` reads pictures again for
every step; `CachedBatches` keeps frozen features of every picture in memory.
"""

import functools
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gleclip_cli.artifacts.labels import Labels
from gleclip_cli.datasets.transforms import Augment
from gleclip_cli.errors import BadInput

Pair = tuple[NDArray[np.uint8], Labels]
Weighted = tuple[NDArray[np.uint8], Labels, NDArray[np.uint8]]
Load = Callable[[str], Pair | Weighted]
"""Image id -> picture uint8 (H, W, 3), mask (H, W) and, if pixels are weighted, their confidence
(H, W) in bytes; raises BadInput or OSError.
"""

OnBad = Callable[[str, Exception], None]
"""Told of an image that cannot be read; raises to stop, returns to go on without it."""


@dataclass(frozen=True)
class Batch:
    """Pictures uint8 (b, 3, H, W), masks (b, H, W), cached features as `cached.Cacheable` or none.

    `confidence` (b, H, W): 0 to 255, in the type of the masks. Of several processes, each has its
    share of a batch. A batch is empty when none of its images can be read.
    """

    image_ids: tuple[str, ...]
    images: Tensor
    masks: Tensor
    features: tuple[Tensor, ...] | None = None
    confidence: Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device."""
        features = self.features and tuple(part.to(device) for part in self.features)
        confidence = None if self.confidence is None else self.confidence.to(device)
        images, masks = self.images.to(device), self.masks.to(device)
        return Batch(self.image_ids, images, masks, features, confidence)


@dataclass(frozen=True)
class Order:
    """Which images each step sees: one shuffled pass after the other, seeded, without end.

    `share`: (rank, count) of the processes that divide every batch of `batch_size` images; the
    count divides the size.
    """

    image_ids: Sequence[str]
    batch_size: int
    seed: int
    share: tuple[int, int] = (0, 1)

    @property
    def share_size(self) -> int:
        """Images of a batch that are this process's."""
        return self.batch_size // self.share[1]

    def draw(self, position: int) -> tuple[str, int]:
        """Return image id and augmentation seed of a place in that stream."""
        epoch, place = divmod(position, len(self.image_ids))
        order = _permutation(len(self.image_ids), self.seed, epoch)
        image_id = self.image_ids[int(order[place])]
        return image_id, draw_seed(self.seed, epoch, image_id)

    def positions(self, first_step: int, last_step: int) -> range:
        """Return this process's places among those of the steps from first to before last."""
        rank, count = self.share
        return range(first_step * self.batch_size + rank, last_step * self.batch_size, count)


@functools.lru_cache(maxsize=2)  # a batch may lie across two passes
def _permutation(count: int, seed: int, epoch: int) -> NDArray[np.intp]:
    return np.random.default_rng((seed, epoch)).permutation(count)


def draw_seed(seed: int, epoch: int, image_id: str) -> int:
    """Return the seed of one augmentation: a hash, so that neighbours share nothing."""
    text = f"{seed}/{epoch}/{image_id}".encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.sha256(text).digest()[:7], "big")


@dataclass(frozen=True)
class _Bad:
    """An image that could not be read; travels from a loading process as a value.

    An exception would reach the parent as another one, with a traceback for a message.
    """

    image_id: str
    error: BadInput | OSError


_Drawn = tuple[str, tuple[Tensor, ...]] | _Bad


class _Draws(Dataset[_Drawn]):
    def __init__(self, order: Order, positions: range, load: Load, augment: Augment) -> None:
        self._order, self._positions = order, positions
        self._load, self._augment = load, augment

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, index: int) -> _Drawn:
        image_id, seed = self._order.draw(self._positions[index])
        try:
            image, mask, *confidence = self._load(image_id)
        except (BadInput, OSError) as error:
            return _Bad(image_id, error)
        planes = (
            torch.tensor(plane.astype(mask.dtype, copy=False)) for plane in (mask, *confidence)
        )
        return image_id, self._augment(to_picture(image), *planes, seed=seed)


class AugmentedBatches:
    """Reads, scales, crops and mirrors pictures for every step, in up to `workers` processes."""

    def __init__(
        self, order: Order, load: Load, augment: Augment, *, on_bad: OnBad, workers: int = 0
    ) -> None:
        self._order, self._load, self._augment = order, load, augment
        # More processes than processors only take turns, each with a torch of its own in memory.
        self._on_bad, self._workers = on_bad, min(workers, os.cpu_count() or 1)

    def relabel(self, load: Load) -> None:
        """Take the masks of all later steps from `load`."""
        self._load = load

    def steps(self, first: int, last: int) -> Iterator[Batch]:
        """Yield the batches of the steps from `first` to before `last`."""
        loader = DataLoader(
            _Draws(self._order, self._order.positions(first, last), self._load, self._augment),
            batch_size=self._order.share_size,
            num_workers=self._workers,
            multiprocessing_context="spawn" if self._workers else None,
            collate_fn=list,
            # it draws a seed of its own, which must not come from the generator of the training
            generator=torch.Generator(),
        )
        for drawn in loader:
            yield self._batch(cast("list[_Drawn]", drawn))

    def _batch(self, drawn: list[_Drawn]) -> Batch:
        good = []
        for part in drawn:
            if isinstance(part, _Bad):
                self._on_bad(part.image_id, part.error)
            else:
                good.append(part)
        if not good:
            return Batch((), torch.empty(0, 3, 0, 0), torch.empty(0, 0, 0))
        ids, parts = zip(*good, strict=True)
        images, masks, *confidence = map(torch.stack, zip(*parts, strict=True))
        return Batch(ids, images, masks, confidence=confidence[0] if confidence else None)


def to_picture(image: NDArray[np.uint8]) -> Tensor:
    """Copy (H, W, 3) bytes, which may be read-only, into a tensor (3, H, W)."""
    return torch.tensor(image).permute(2, 0, 1)
