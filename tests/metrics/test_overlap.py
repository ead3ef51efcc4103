"""Intersections, unions and their ratios, against hand counts and `summarise`."""

import numpy as np
import pytest

from gleclip_cli.metrics.confusion import summarise
from gleclip_cli.metrics.overlap import iou_of, mean_iou, overlap_of

CONFUSION = np.array([[1, 1, 0, 0], [1, 2, 0, 1], [0, 0, 0, 0]])
"""Three classes; one pixel of class 1 is undecided, class 2 is nowhere."""


def test_a_case_counted_by_hand() -> None:
    assert overlap_of(CONFUSION).tolist() == [[1, 3], [2, 5], [0, 0]]
    assert overlap_of(CONFUSION[:, :3]).tolist() == [[1, 3], [2, 4], [0, 0]]
    iou = iou_of(overlap_of(CONFUSION))
    np.testing.assert_allclose(iou, [1 / 3, 2 / 5, np.nan])
    assert mean_iou(iou) == pytest.approx((1 / 3 + 2 / 5) / 2)


def test_a_stack_of_images_is_summed_and_read_as_one_set() -> None:
    stack = np.random.default_rng(0).integers(0, 50, (4, 3, 5, 6))
    overlap = overlap_of(stack).sum(axis=1)
    for one, matrices in zip(overlap, stack, strict=True):
        expected = summarise(matrices.sum(axis=0))
        np.testing.assert_allclose(iou_of(one), expected.iou)
        assert mean_iou(iou_of(one)) == pytest.approx(expected.miou)


def test_nothing_counted_gives_no_number() -> None:
    assert np.isnan(mean_iou(iou_of(np.zeros((2, 3, 2), np.int64)))).all()
