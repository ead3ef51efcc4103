"""Warnings about mixed-up masks come where they should, and nowhere else."""

import numpy as np
import pytest

from gleclip_cli.metrics.confusion import confusion_of
from gleclip_cli.metrics.mix_ups import mix_ups

CLASSES = 6


def truth() -> np.ndarray:
    """Half background; classes 1, 3 and 5 in blocks; a border to be ignored."""
    mask = np.zeros((40, 40), np.uint8)
    for place, label in enumerate((1, 3, 5)):
        mask[4:24, 2 + 13 * place : 12 + 13 * place] = label
    mask[:, -1] = 255
    return mask


def said(gt: np.ndarray, pred: np.ndarray, classes: int = CLASSES) -> list[str]:
    return mix_ups(confusion_of(gt, pred, classes), ignored_pixels=int((gt == 255).sum()))


def noisy(mask: np.ndarray, share: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.where(rng.random(mask.shape) < share, 0, mask).astype(np.uint8)


def from_zero(mask: np.ndarray) -> np.ndarray:
    """Class 1 becomes 0, background 255, as in lists of objects without background."""
    return mask - np.uint8(1)


def test_fault_46_a_numbering_from_zero_is_told_whichever_mask_has_it() -> None:
    good = np.where(truth() == 255, 0, truth()).astype(np.uint8)
    (below,) = said(truth(), from_zero(noisy(good, 0.3)))
    assert "3 classes" in below
    assert "one class id below" in below
    (above,) = said(from_zero(good), noisy(good, 0.3))
    assert "one class id above" in above


def test_fault_46_undecided_pixels_that_the_truth_never_has_are_told() -> None:
    good = np.where(truth() == 255, 0, truth()).astype(np.uint8)
    (swapped,) = said(good, truth())
    assert "40 pixels" in swapped
    assert "swapped" in swapped
    assert said(truth(), good) == []


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95, 1.0])
def test_bad_predictions_are_no_mix_up(share: float) -> None:
    assert said(truth(), np.where(truth() == 255, 0, noisy(truth(), share)).astype(np.uint8)) == []


def test_two_classes_that_are_taken_for_each_other_are_no_mix_up() -> None:
    gt = truth()
    gt[gt == 5] = 4
    swapped = np.select([gt == 3, gt == 4, gt == 1], [4, 3, 1], 0).astype(np.uint8)
    assert said(gt, swapped) == []


def test_one_class_everywhere_is_no_mix_up() -> None:
    for label in range(CLASSES):
        assert said(truth(), np.full_like(truth(), label)) == []
