"""Counts of two small masks, done by hand."""

import numpy as np

from gleclip_cli.metrics.mask_statistics import MaskStatistics

NAMES = ("background", "cat", "dog", "cow")


def test_classes_and_images_are_counted() -> None:
    statistics = MaskStatistics(NAMES)
    labels = np.array([[0, 0, 1], [0, 1, 1]], np.uint8)
    statistics.add("a", labels, np.array([[1.0, 0.8, 0.5], [0.6, 0.7, 0.6]]), [1, 2])
    statistics.add("b", np.zeros((1, 2), np.uint8), np.ones((1, 2)), [])
    table = statistics.table()
    assert table["confidence"] == 0.775  # 6.2 over 8 pixels
    assert table["classes"] == {
        "background": {"tagged": 0, "won": 2, "share": 0.625, "confidence": 0.88},
        "cat": {"tagged": 1, "won": 1, "share": 0.375, "confidence": 0.6},
        "dog": {"tagged": 1, "won": 0, "share": 0.0, "confidence": 0.0},
        "cow": {"tagged": 0, "won": 0, "share": 0.0, "confidence": 0.0},
    }
    assert table["images"] == {
        "a": {"background": 0.5, "confidence": 0.7, "lost": ["dog"]},
        "b": {"background": 1.0, "confidence": 1.0, "lost": []},
    }
    assert statistics.summary() == (
        "62.5 % of all pixels are background, mean confidence 0.78; "
        "1 of 2 tagged classes got no pixel, most often dog (1)."
    )


def test_without_masks_nothing_is_divided_by_0() -> None:
    assert "every tagged class got a pixel." in MaskStatistics(NAMES).summary()
