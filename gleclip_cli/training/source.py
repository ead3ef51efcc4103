"""Where the batches of a training come from: features kept in memory, or pictures read again."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from gleclip_cli.datasets.transforms import Augment
from gleclip_cli.progress import SILENT, Progress
from gleclip_cli.training.batches import AugmentedBatches, Load, OnBad, Order
from gleclip_cli.training.cached import CACHE_LIMIT, Cacheable, CachedBatches, cache_bytes

_AS_THEY_ARE = (1.0, 1.0)


@runtime_checkable  # so that the shape checks of the tests can look at signatures
class Patched(Protocol):
    """A network that reads whole patches; `fill` pads a picture to them."""

    patch_size: int
    fill: tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """How pictures are drawn: `crop` in pixels, a range of `scales`, mirrored or not.

    `jitter`: how far colours vary (0 to 1).
    `share`: rank and count of the processes that divide each batch; `workers` load pictures.
    """

    batch_size: int
    crop: int
    flip: bool
    seed: int
    share: tuple[int, int]
    scales: tuple[float, float] = _AS_THEY_ARE
    jitter: float = 0.0
    workers: int = 0


def batch_source(
    network: Patched,
    image_ids: Sequence[str],
    load: Load,
    drawing: Drawing,
    *,
    sizes: Iterable[tuple[int, int]],
    on_bad: OnBad,
    note: Callable[..., None],
    progress: Progress = SILENT,
) -> CachedBatches | AugmentedBatches:
    """Return batches with features where pictures are not varied and memory allows.

    `sizes`: (H, W) of the pictures; `note` is told the bytes kept, for the manifest.
    """
    crop = max(1, round(drawing.crop / network.patch_size)) * network.patch_size
    varied = drawing.scales != _AS_THEY_ARE or drawing.jitter > 0
    if isinstance(network, Cacheable) and not varied:
        needed = cache_bytes(network, sizes, crop=crop)
        fits = needed <= CACHE_LIMIT
        note(cache_bytes=needed if fits else 0)
        if fits:
            return CachedBatches(
                network, image_ids, load, batch_size=drawing.batch_size, crop=crop,
                flip=drawing.flip, seed=drawing.seed, on_bad=on_bad, share=drawing.share,
                progress=progress,
            )  # fmt: skip
    augment = Augment(
        crop,
        scales=drawing.scales,
        flip=drawing.flip,
        jitter=drawing.jitter,
        fill=network.fill,
    )
    order = Order(image_ids, drawing.batch_size, drawing.seed, drawing.share)
    return AugmentedBatches(order, load, augment, on_bad=on_bad, workers=drawing.workers)
