"""Boundary IoU: how well contours agree, whatever lies within them.

Paper: Cheng et al., Boundary IoU, CVPR 2021. Only pixels of a mask count that are within a band
along its contour, 2 % of the image's diagonal wide; where the image ends, a mask ends.
Here: counts are summed over the set, as for the mIoU. A prediction is cut where the truth is
ignored, or the band of ignored pixels that VOC has around objects would spoil a perfect one.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from gleclip_cli.artifacts.labels import Labels
from gleclip_cli.metrics.confusion import Counts, refuse_others, size_fault
from gleclip_cli.metrics.overlap import overlap_of

_SQUARE = np.ones((3, 3), np.uint8)


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
    refuse_others(gt_mask, num_classes, f"true mask of {name}")
    refuse_others(pred_mask, num_classes, f"predicted mask of {name}")
    width = max(1, round(ratio * math.hypot(*gt_mask.shape)))
    # what is ignored, or in no band, is class C
    true = np.minimum(gt_mask, num_classes)
    predicted = np.where(true == num_classes, num_classes, np.minimum(pred_mask, num_classes))
    joint = _banded(true, width, num_classes).astype(np.intp) * (num_classes + 1)
    joint += _banded(predicted.astype(true.dtype), width, num_classes)
    table = np.bincount(joint.ravel(), minlength=(num_classes + 1) ** 2)
    return overlap_of(table.reshape(num_classes + 1, -1))[:num_classes]


def _banded(labels: Labels, width: int, outside: int) -> NDArray[np.unsignedinteger]:
    """Keep labels with another one, or no image, within `width` pixels; others are `outside`.

    All classes at once: what an erosion takes from the mask of any of them.
    """
    lowest = cv2.erode(labels, _SQUARE, iterations=width)
    highest = cv2.dilate(labels, _SQUARE, iterations=width)
    inner = np.zeros(labels.shape, bool)
    rows, columns = (slice(width, max(width, side - width)) for side in labels.shape)
    inner[rows, columns] = (lowest == highest)[rows, columns]
    banded: NDArray[np.unsignedinteger] = np.where(inner, labels.dtype.type(outside), labels)
    return banded
