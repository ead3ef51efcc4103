"""What a confusion matrix says about masks that were mixed up before they were scored.

Here: a class counts as shifted when its neighbour's prediction fits it far better than its own;
two such classes, and no fewer than half of all, are a numbering that starts at 0 in one of the
two masks. Two classes that a network confuses are shifted in opposite directions.
"""

import numpy as np

from gleclip_cli.metrics.confusion import Counts

_LOWEST_IOU = 0.2
_FAR_BETTER = 2.0
_FEWEST = 2


def mix_ups(confusion: Counts, *, ignored_pixels: int) -> list[str]:
    """Return warnings for a matrix (C, C + 1); `ignored_pixels`: of the true masks, not in it."""
    found = []
    for step, predicted in ((1, "above"), (-1, "below")):
        shifted = _shifted(confusion, step)
        if shifted >= _FEWEST and 2 * shifted >= (confusion.sum(axis=1) > 0).sum():
            found.append(
                f"{shifted} classes fit the prediction one class id {predicted} theirs far better "
                "than their own: does one of the two masks number classes from 0?"
            )
    undecided = int(confusion[:, -1].sum())
    if undecided and not ignored_pixels:
        found.append(
            f"{undecided} pixels are predicted as ignored, while the truth ignores none: "
            "are truth and prediction swapped?"
        )
    return found


def _shifted(confusion: Counts, step: int) -> int:
    """Count classes k that predictions of class k + step fit far better than those of class k."""
    square = confusion[:, :-1].astype(np.float64)
    union = confusion.sum(axis=1)[:, None] + square.sum(axis=0) - square
    iou = square / np.maximum(union, 1)
    own = np.diagonal(iou)[: len(iou) - 1] if step > 0 else np.diagonal(iou)[1:]
    beside = np.diagonal(iou, step)
    return int(((beside > _LOWEST_IOU) & (beside > _FAR_BETTER * own)).sum())
