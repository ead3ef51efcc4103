"""Mosaics: four pictures of one class each become one of several, with labels that are certain.

Here: where a picture has several classes, its tags do not say which object is which, and deep
tokens of CLIP know the classes of the whole picture; pictures of one class never teach to tell
classes apart inside one picture. Mosaics do, from tags alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gleclip_cli.artifacts.labels import Labels
from gleclip_cli.training.batches import Pair, draw_seed

_CROSSING = (0.4, 0.6)
_ENLARGED = (1.0, 1.5)


@dataclass(frozen=True)
class Mosaics:
    """Mosaic id -> the images it is made of; `seed` decides how they are cut."""

    parts: Mapping[str, Sequence[str]]
    seed: int

    def make(self, mosaic_id: str, load: Callable[[str], Pair]) -> Pair:
        """Return a mosaic as large as the mean of its parts; `load` reads a part.

        Raises:
            BadInput: a part cannot be read.
        """
        random = np.random.default_rng(draw_seed(self.seed, 0, mosaic_id))
        pairs = [load(part) for part in self.parts[mosaic_id]]
        height, width = (int(np.mean([p[1].shape[axis] for p in pairs])) for axis in (0, 1))
        middle, centre = (int(side * random.uniform(*_CROSSING)) for side in (height, width))
        rows = [slice(0, middle), slice(middle, height)]
        columns = [slice(0, centre), slice(centre, width)]
        image = np.empty((height, width, 3), np.uint8)
        labels = np.empty((height, width), pairs[0][1].dtype)
        for place, pair in enumerate(pairs):
            tile = rows[place // 2], columns[place % 2]
            image[tile], labels[tile] = _cut(pair, labels[tile].shape, random)
        return image, labels


def draw_mosaics(
    class_ids: Mapping[str, Sequence[int]], image_ids: Sequence[str], *, share: float, seed: int
) -> Mosaics:
    """Return mosaics of the images that have one class, `share` times as many as there are images.

    Every such image is used before one is used again; fewer than two classes: no mosaics.
    """
    single = [image_id for image_id in image_ids if len(class_ids[image_id]) == 1]
    count = round(share * len(image_ids))
    if not count or len({class_ids[image_id][0] for image_id in single}) < 2:
        return Mosaics({}, seed)
    folder = "mosaic"
    while any(image_id.startswith(f"{folder}/") for image_id in image_ids):
        folder += "+"  # the user has such a folder
    random = np.random.default_rng((seed, 1))
    passes = -(-4 * count // len(single))
    order = np.concatenate([random.permutation(len(single)) for _ in range(passes)])
    parts = {
        f"{folder}/{number}": [single[place] for place in order[4 * number : 4 * number + 4]]
        for number in range(count)
    }
    return Mosaics(parts, seed)


def _cut(
    pair: Pair, size: tuple[int, ...], random: np.random.Generator
) -> tuple[NDArray[np.uint8], Labels]:
    """Shrink a picture with its labels, and cut a tile of `size` (h, w) at a random place."""
    image, labels = pair
    scale = max(t / s for t, s in zip(size, labels.shape, strict=True)) * random.uniform(*_ENLARGED)
    height, width = (max(t, round(s * scale)) for t, s in zip(size, labels.shape, strict=True))
    top, left = (
        int(random.integers(s - t + 1)) for s, t in zip((height, width), size, strict=True)
    )
    tile = slice(top, top + size[0]), slice(left, left + size[1])
    shrunk = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    smaller: Labels = np.asarray(
        cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST), labels.dtype
    )
    return shrunk[tile], smaller[tile]
