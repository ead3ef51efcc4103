"""The band of ignored pixels."""

import numpy as np
from scipy import ndimage

from gleclip_cli.tools.export.masks import with_band


def test_a_band_by_hand() -> None:
    labels = np.zeros((5, 7), np.uint8)
    labels[:, 3:] = 4
    banded = with_band(labels, 1)
    assert banded.tolist() == [[0, 0, 255, 255, 4, 4, 4]] * 5


def test_a_band_by_distances() -> None:
    labels = (np.random.default_rng(0).random((6, 8)) > 0.6).astype(np.uint16).repeat(9, 0)
    labels = labels.repeat(9, 1) * 300
    for width in (1, 3):
        other = np.maximum(
            ndimage.distance_transform_cdt(labels == 0, "chessboard"),
            ndimage.distance_transform_cdt(labels == 300, "chessboard"),
        )
        expected = np.where(other <= width, 65535, labels)
        np.testing.assert_array_equal(with_band(labels, width), expected)
