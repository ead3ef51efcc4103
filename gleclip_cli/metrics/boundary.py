"""Boundary IoU: how well contours agree, whatever lies within them.

Paper: Cheng et al., Boundary IoU, CVPR 2021. Only pixels of a mask count that are within a band
along its contour, 2 % of the image's diagonal wide; where the image ends, a mask ends.
Here: counts are summed over the set, as for the mIoU. A prediction is cut where the truth is
ignored, or the band of ignored pixels that VOC has around objects would spoil a perfect one.
"""

import math

import numpy as np
from numpy.typing import NDArray

from gleclip_cli.artifacts.labels import Labels
from gleclip_cli.metrics.confusion import Counts, size_fault
from gleclip_cli.metrics.counting import count_bands, cut, in_words, mark_mixed


def boundary_overlap(
    gt_mask: Labels,
    pred_mask: Labels,
    num_classes: int,
    *,
    ratio: float = 0.02,
    name: str = "an image",
) -> Counts:
    """Count the image `name`: int64 (C, 2), intersection and union of the bands of each class.

    `ratio`: width of the band as a share of the diagonal. Pixels to be ignored in the prediction
    belong to no class; nor do values that are none, which `confusion_of` refuses.

    Raises:
        BadInput: the masks differ in size.
    """
    if gt_mask.shape != pred_mask.shape:
        raise size_fault(pred_mask.shape, gt_mask.shape, name)
    # what is ignored, in either, is class C
    true, made = np.empty(gt_mask.shape, gt_mask.dtype), np.empty(gt_mask.shape, gt_mask.dtype)
    last = gt_mask.dtype.type(num_classes)
    cut(gt_mask.ravel(), pred_mask.ravel(), last, true.ravel(), made.ravel())
    bands = _bands(true, made, max(1, round(ratio * math.hypot(*true.shape))))
    table = np.zeros((4, num_classes + 1, num_classes + 1), np.int64)
    gt_words, pred_words, band_words = in_words(true, made, bands.astype(true.dtype, copy=False))
    count_bands(gt_words, pred_words, band_words, table)
    _, of_true, of_made, both = table
    in_true = (of_true + both).sum(axis=1)
    in_made = (of_made + both).sum(axis=0)
    hits = np.diagonal(both)
    return np.stack([hits, in_true + in_made - hits], axis=-1)[:num_classes]


def _bands(true: Labels, made: Labels, width: int) -> NDArray[np.uint8]:
    """Mark pixels that have another label, or no image, within `width`: 1 in `true`, 2 in `made`.

    All classes at once: what an erosion takes from the mask of any of them. A window is of one
    label if every square of four pixels in it is.
    """
    height, columns = true.shape
    bands = np.full(true.shape, 3, np.uint8)
    if min(height, columns) <= 2 * width:
        return bands
    mixed = np.zeros(true.shape, np.uint8)
    mark_mixed(true, made, mixed[:-1, :-1])
    near = mixed.ravel()
    for step in (1, columns):  # what reaches over the end of a row lies in the outer band
        size = 1
        while size < 2 * width:
            more = min(size, 2 * width - size)
            near = near[: -more * step] | near[more * step :]
            size += more
    rows = height - 2 * width
    inner = near[: rows * columns].reshape(rows, columns)[:, : columns - 2 * width]
    bands[width : height - width, width : columns - width] = inner
    return bands
