"""The confusion matrix of a set of masks, summed image by image, and the scores read from it.

Rows are true classes 0..C-1, columns are predicted classes 0..C-1 and, last, pixels to be
ignored (no decision): those are wrong for whatever class is true. A true pixel to be ignored is not
counted at all.
Source: PASCAL VOC, intersection over union summed over the whole set.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gleclip_cli.artifacts.labels import Labels, ignore_index, label_fault
from gleclip_cli.errors import BadInput
from gleclip_cli.metrics.counting import count_pairs, in_words

Counts = NDArray[np.int64]

_OF_COCO = 81


def confusion_of(
    gt_mask: Labels,
    pred_mask: Labels,
    num_classes: int,
    *,
    name: str = "an image",
) -> Counts:
    """Count the image `name`: int64 (C, C + 1), the last column being undecided pixels.

    Raises:
        BadInput: the masks differ in size, or hold values that are no class.
    """
    if gt_mask.shape != pred_mask.shape:
        raise size_fault(pred_mask.shape, gt_mask.shape, name)
    table = np.zeros((num_classes + 1, num_classes + 1), np.int64)
    ignored = ignore_index(gt_mask), ignore_index(pred_mask)
    gt_words, pred_words = in_words(gt_mask, pred_mask)
    if gt_mask.size and not count_pairs(gt_words, pred_words, ignored, table):
        refuse_others(gt_mask, num_classes, f"true mask of {name}")
        refuse_others(pred_mask, num_classes, f"predicted mask of {name}")
    return table[:num_classes]


def refuse_others(labels: Labels, num_classes: int, which: str) -> None:
    """Raise BadInput when `labels` hold values that are no class."""
    if fault := label_fault(labels, num_classes):
        remedy = "Masks hold class ids as in the vocabulary."
        if num_classes == _OF_COCO:
            remedy += " COCO's own, which run to 90, `gleclip prepare-data` makes contiguous."
        raise BadInput(f"The {which} {fault}.", remedy)


def size_fault(predicted: tuple[int, ...], true: tuple[int, ...], name: str) -> BadInput:
    """Return the error for a prediction of another size (H, W) than the true mask."""
    return BadInput(
        f"The prediction of {name} has {predicted[0]} x {predicted[1]} pixels, "
        f"the true mask {true[0]} x {true[1]}.",
        "Nothing is resized silently: make both at the size of the image.",
    )


@dataclass(frozen=True)
class Summary:
    """Scores of one confusion matrix; NaN where a class or a ratio has nothing to divide by.

    All but `over` and `under` lie in [0, 1]. Per class (C,): `iou`, `precision`, `recall`;
    `false_positive` and `false_negative`, shares of the union, so that the three sum to 1
    (IRN: FP = 1 - true / union, FN = 1 - predicted / union). `miou` is the mean over classes with
    a non-empty union, `miou_foreground` the same without background. `over` and `under` are over-
    and under-activation (SEAM, CVPR 2020: m_FP and m_FN), means over foreground classes of FP / TP
    and FN / TP; here a class without a hit, where they have no bound, is left out.
    """

    iou: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    false_positive: NDArray[np.float64]
    false_negative: NDArray[np.float64]
    miou: float
    miou_foreground: float
    frequency_weighted_iou: float
    pixel_accuracy: float
    over: float
    under: float


def summarise(confusion: Counts) -> Summary:
    """Read all scores from a (C, C + 1) confusion matrix; class 0 is background."""
    hits = np.diagonal(confusion).astype(np.float64)
    true = confusion.sum(axis=1).astype(np.float64)
    predicted = confusion[:, : len(confusion)].sum(axis=0).astype(np.float64)
    wrong, missed, union = predicted - hits, true - hits, true + predicted - hits
    iou = _ratio(hits, union)
    seen = true > 0
    return Summary(
        iou=iou,
        precision=_ratio(hits, predicted),
        recall=_ratio(hits, true),
        false_positive=_ratio(wrong, union),
        false_negative=_ratio(missed, union),
        miou=mean_of_known(iou),
        miou_foreground=mean_of_known(iou[1:]),
        frequency_weighted_iou=float(_ratio((true * iou)[seen].sum(), true.sum())),
        pixel_accuracy=float(_ratio(hits.sum(), true.sum())),
        over=mean_of_known(_ratio(wrong[1:], hits[1:])),
        under=mean_of_known(_ratio(missed[1:], hits[1:])),
    )


def mean_of_known(values: NDArray[np.float64]) -> float:
    """Return the mean of values that are not NaN; NaN where all are."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _ratio(
    part: NDArray[np.float64] | np.float64, whole: NDArray[np.float64] | np.float64
) -> NDArray[np.float64]:
    empty = np.full(np.shape(whole), np.nan)
    return np.divide(part, whole, out=empty, where=np.asarray(whole) > 0)
