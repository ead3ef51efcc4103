"""Bootstrap over images: how sure an mIoU is, and the difference between two systems.

Images are drawn again with replacement, for both systems the same ones, and the mIoU of each such
set is read anew. Of systems trained several times, trainings are drawn again as well.
Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, percentile interval.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from gleclip_cli.metrics.confusion import Counts
from gleclip_cli.metrics.overlap import iou_of, mean_iou

_AT_ONCE = 256
"""Images in memory; decides, with the seed, what is drawn."""
RESAMPLES = 2000
LEAST_IMAGES = 20
TOO_FEW = f"fewer than {LEAST_IMAGES} images"
"""Why there is no interval: of so few it is too narrow, and may lie beside its value."""


@dataclass(frozen=True)
class Interval:
    """A value as measured, and the bounds of its interval; NaN where it is not defined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Intervals:
    """Of the mIoU, and of the IoU of each class; as differences second minus first, in [-1, 1]."""

    miou: Interval
    iou: tuple[Interval, ...]

    def of_enough(self, images: int) -> "Intervals":
        """Without any bounds (NaN) if there are too few images for them to mean something."""
        if images >= LEAST_IMAGES:
            return self
        nowhere = float("nan")
        miou, *iou = (replace(one, low=nowhere, high=nowhere) for one in (self.miou, *self.iou))
        return Intervals(miou, tuple(iou))


def bootstrap(
    images: Iterable[Counts],
    count: int,
    *,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
    seed: int = 0,
) -> Intervals:
    """Return the intervals of one system by its counts (C, 2) of `count` images."""
    sums, drawn = _resampled(images, count, resamples, np.random.default_rng(seed))
    return _intervals(_scores(sums[None])[0], _scores(drawn), confidence)


def paired_bootstrap(
    first: Counts,
    second: Counts,
    *,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
    seed: int = 0,
) -> Intervals:
    """Compare two systems by their counts (n, C, 2) or (t, n, C, 2), as `overlap_of` makes them.

    `n` images, the same and in the same order for both; `t` trainings of each, paired.
    The same seed gives the same interval on every machine: sums of whole numbers are exact.

    Raises:
        ValueError: the counts differ in shape, or there is nothing to draw from.
    """
    if first.shape != second.shape or not first.size:
        raise ValueError(f"counts of {first.shape} and {second.shape} cannot be paired")
    pairs = np.moveaxis(np.stack([first, second]), -3, 0)
    return paired_bootstrap_of(
        pairs, len(pairs), resamples=resamples, confidence=confidence, seed=seed
    )


def paired_bootstrap_of(
    pairs: Iterable[Counts],
    count: int,
    *,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
    seed: int = 0,
) -> Intervals:
    """Compare two systems by counts (2, C, 2) or (2, t, C, 2) of `count` images, read once."""
    random = np.random.default_rng(seed)
    sums, drawn = _resampled(pairs, count, resamples, random)
    shape = (2, -1, *sums.shape[-2:])
    sums, drawn = sums.reshape(shape), drawn.reshape(resamples, *shape)
    trainings = sums.shape[1]
    shares = random.multinomial(trainings, np.full(trainings, 1 / trainings), size=resamples)
    value = _differences(sums[None], np.full((1, trainings), 1 / trainings))[0]
    return _intervals(value, _differences(drawn, shares / trainings), confidence)


def _resampled(
    images: Iterable[Counts], count: int, resamples: int, random: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sum of all counts, and of each resample (r, ...).

    How many draws of a resample fall on a block of images is binomial, given what is left to draw;
    within the block all are alike. So the numbers of all images are multinomial, as if drawn at
    once.
    """
    left, rows = np.full(resamples, count), np.arange(resamples)
    total: NDArray[np.float64] | None = None
    drawn = np.zeros((resamples, 0))
    for start, block in _blocks(images):
        size = len(block)
        own = random.binomial(left, size / (count - start))
        left -= own
        places = np.repeat(rows, own) * size + random.integers(size, size=own.sum())
        weights = np.bincount(places, minlength=resamples * size).reshape(resamples, size)
        if total is None:
            total, drawn = np.zeros(block.shape[1:]), np.zeros((resamples, block[0].size))
        total += block.sum(axis=0)
        drawn += weights.astype(np.float64) @ block.reshape(size, -1)
    if total is None:
        raise ValueError("there is no image to draw")
    return total, drawn.reshape(resamples, *total.shape)


def _blocks(images: Iterable[Counts]) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield images by `_AT_ONCE`, with the number of the first."""
    left, start = iter(images), 0
    while block := list(islice(left, _AT_ONCE)):
        yield start, np.stack(block).astype(np.float64)
        start += len(block)


def _scores(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return mIoU, then IoU (..., 1 + C) of counts (..., C, 2)."""
    iou = iou_of(sums)
    return np.concatenate([mean_iou(iou)[..., None], iou], axis=-1)


def _differences(sums: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return second minus first (r, 1 + C): the `shares` (r, t) of trainings.

    `sums` (r, 2, t, C, 2).
    """
    scores = _scores(sums)
    differences = scores[:, 1] - scores[:, 0]
    weights = shares[..., None]
    # a training that was not drawn must not bring its NaN along
    mean: NDArray[np.float64] = (weights * np.where(weights > 0, differences, 0)).sum(axis=1)
    return mean


def _intervals(
    values: NDArray[np.float64], drawn: NDArray[np.float64], confidence: float
) -> Intervals:
    """Return the intervals of values (1 + C,) by those of resamples (r, 1 + C)."""
    miou, *iou = (_interval(v, d, confidence) for v, d in zip(values, drawn.T, strict=True))
    return Intervals(miou, tuple(iou))


def _interval(value: float, drawn: NDArray[np.float64], confidence: float) -> Interval:
    known = drawn[~np.isnan(drawn)]
    if not known.size:
        return Interval(float(value), float("nan"), float("nan"))
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(value), float(low), float(high))
