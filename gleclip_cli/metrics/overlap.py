"""Intersection and union per class, in pixels: what an IoU of any kind is summed from.

Axes: `C` classes, then two counts: pixels of the intersection, pixels of the union. The counts of
images add up; the IoU of a set is read from the sum.
"""

import numpy as np
from numpy.typing import NDArray

from gleclip_cli.metrics.confusion import Counts


def overlap_of(confusion: Counts) -> Counts:
    """Return (..., C, 2) for matrices (..., C, C), or (..., C, C + 1) with undecided pixels."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    true = confusion.sum(axis=-1)
    predicted = confusion[..., : confusion.shape[-2]].sum(axis=-2)
    return np.stack([hits, true + predicted - hits], axis=-1)


def iou_of(overlap: NDArray[np.integer] | NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the IoU (..., C) in [0, 1] of counts (..., C, 2); NaN where the union is empty."""
    hits, union = overlap[..., 0], overlap[..., 1]
    iou = np.full(union.shape, np.nan)
    np.divide(hits, union, out=iou, where=union > 0)
    return iou


def mean_iou(iou: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean (...) over classes with a non-empty union; NaN where there is none."""
    known = ~np.isnan(iou)
    total = np.where(known, iou, 0).sum(axis=-1)
    mean = np.full(iou.shape[:-1], np.nan)
    np.divide(total, known.sum(axis=-1), out=mean, where=known.any(axis=-1))
    return mean
