"""Paired bootstrap: how sure a difference in mIoU between two systems is.

Images are drawn again with replacement, for both systems the same ones, and the mIoU of each such
set is read anew. Of systems trained several times, trainings are drawn again as well.
Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, percentile interval.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gleclip_cli.metrics.confusion import Counts
from gleclip_cli.metrics.overlap import iou_of, mean_iou

_AT_ONCE = 2**22
"""Largest count of drawn weights in memory."""


@dataclass(frozen=True)
class Interval:
    """A difference as measured, and the bounds of its interval; NaN where it is not defined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """Second system minus first, in [-1, 1]: of the mIoU, and of the IoU of each class."""

    miou: Interval
    iou: tuple[Interval, ...]


def paired_bootstrap(
    first: Counts,
    second: Counts,
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Compare two systems by their counts (n, C, 2) or (t, n, C, 2), as `overlap_of` makes them.

    `n` images, the same and in the same order for both; `t` trainings of each, paired.
    The same seed gives the same interval on every machine: sums of whole numbers are exact.

    Raises:
        ValueError: the counts differ in shape, or there is nothing to draw from.
    """
    if first.shape != second.shape or not first.size:
        raise ValueError(f"counts of {first.shape} and {second.shape} cannot be paired")
    pair = np.stack([first, second]).astype(np.float64)
    pair = pair.reshape(2, -1, *first.shape[-3:])
    _, trainings, images, classes, _ = pair.shape
    columns = np.moveaxis(pair, 2, 0).reshape(images, -1)
    random = np.random.default_rng(seed)
    shares = _draw(random, trainings, resamples) / trainings
    drawn = []
    rows = max(1, _AT_ONCE // images)
    for start in range(0, resamples, rows):
        part = shares[start : start + rows]
        sums = _draw(random, images, len(part)) @ columns
        drawn.append(_differences(sums.reshape(-1, 2, trainings, classes, 2), part))
    value = _differences(pair.sum(axis=2)[None], np.full((1, trainings), 1 / trainings))[0]
    by_column = np.concatenate(drawn).T
    miou, *iou = (_interval(v, d, confidence) for v, d in zip(value, by_column, strict=True))
    return Difference(miou, tuple(iou))


def _draw(random: np.random.Generator, items: int, resamples: int) -> NDArray[np.float64]:
    """Return how often each of `items` is in each resample (r, items)."""
    return random.multinomial(items, np.full(items, 1 / items), size=resamples).astype(np.float64)


def _differences(sums: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return second minus first (r, 1 + C), mIoU then IoU: the `shares` (r, t) of trainings.

    `sums` (r, 2, t, C, 2).
    """
    iou = iou_of(sums)
    scores = np.concatenate([mean_iou(iou)[..., None], iou], axis=-1)
    differences = scores[:, 1] - scores[:, 0]
    weights = shares[..., None]
    # a training that was not drawn must not bring its NaN along
    mean: NDArray[np.float64] = (weights * np.where(weights > 0, differences, 0)).sum(axis=1)
    return mean


def _interval(value: float, drawn: NDArray[np.float64], confidence: float) -> Interval:
    known = drawn[~np.isnan(drawn)]
    if not known.size:
        return Interval(float(value), float("nan"), float("nan"))
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(value), float(low), float(high))
