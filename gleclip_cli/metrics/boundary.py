"""Boundary IoU: how well contours agree, whatever lies within them.

Paper: Cheng et al., Boundary IoU, CVPR 2021. Only pixels of a mask count that are within a band
along its contour, 2 % of the image's diagonal wide; where the image ends, a mask ends.
Here: counts are summed over the set, as for the mIoU. A prediction is cut where the truth is
ignored, or the band of ignored pixels that VOC has around objects would spoil a perfect one.
"""

import math
from itertools import product

import cv2
import numpy as np

from gleclip_cli.artifacts.labels import Labels, ignore_index, label_dtype
from gleclip_cli.metrics.confusion import Counts, refuse_others, size_fault
from gleclip_cli.metrics.counting import count_bands, cut


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
    belong to no class.

    Raises:
        BadInput: the masks differ in size, or hold values that are no class.
    """
    if gt_mask.shape != pred_mask.shape:
        raise size_fault(pred_mask.shape, gt_mask.shape, name)
    shape, dtype = gt_mask.shape, label_dtype(num_classes + 1)
    true, made = np.empty(shape, dtype), np.empty(shape, dtype)
    ignored = ignore_index(gt_mask), ignore_index(pred_mask)
    flat = gt_mask.ravel(), pred_mask.ravel(), *ignored, num_classes, true.ravel(), made.ravel()
    if not cut(*flat):
        refuse_others(gt_mask, num_classes, f"true mask of {name}")
        refuse_others(pred_mask, num_classes, f"predicted mask of {name}")
    width = max(1, round(ratio * math.hypot(*shape)))
    square = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    around = np.empty((4, *shape), dtype)
    for place, (labels, extreme) in enumerate(product((true, made), (cv2.erode, cv2.dilate))):
        extreme(labels, square, dst=around[place])
    counts = np.zeros((3, num_classes + 1), np.int64)
    count_bands(true, made, around, width, counts)
    of_true, of_made, both = counts[:, :num_classes]
    return np.stack([both, of_true + of_made - both], axis=-1)
