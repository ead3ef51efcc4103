"""Boundary IoU against hand counts and the paper's definition, class by class."""

import numpy as np
import pytest

from gleclip_cli.errors import BadInput
from gleclip_cli.metrics.boundary import boundary_overlap
from gleclip_cli.metrics.overlap import iou_of


def square(side: int, rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((side, side), np.uint8)
    mask[rows, columns] = 1
    return mask


def test_a_square_and_a_larger_one_counted_by_hand() -> None:
    """A band of one pixel: 16 pixels of a 5 x 5 square, 20 of the rows 2 to 6, columns 2 to 8."""
    gt = square(20, slice(2, 7), slice(2, 7))
    pred = square(20, slice(2, 7), slice(2, 9))
    hits, union = boundary_overlap(gt, pred, 2, ratio=0.01)[1]
    # common: the left column (5), and of the top and bottom rows columns 3 to 6 (4 each)
    assert (hits, union) == (13, 16 + 20 - 13)


def test_where_the_image_ends_a_mask_ends() -> None:
    """A mask of the whole image has its border as band; background has no pixel."""
    full = np.ones((10, 10), np.uint8)
    overlap = boundary_overlap(full, full, 2, ratio=0.1)
    assert overlap.tolist() == [[0, 0], [36, 36]]


def test_the_band_is_two_hundredths_of_the_diagonal_and_at_least_a_pixel() -> None:
    full = np.ones((300, 400), np.uint8)  # diagonal 500: a band of 10
    assert boundary_overlap(full, full, 2)[1].tolist() == [300 * 400 - 280 * 380] * 2
    tiny = np.ones((4, 4), np.uint8)
    assert boundary_overlap(tiny, tiny, 2)[1].tolist() == [12, 12]
    assert boundary_overlap(tiny, tiny, 2, ratio=1.0)[1].tolist() == [16, 16]


def by_the_paper(gt: np.ndarray, pred: np.ndarray, class_id: int, width: int) -> list[int]:
    """Bands by the distance to every pixel that is not of the class, or beyond the image."""

    def band(mask: np.ndarray) -> np.ndarray:
        padded = np.pad(mask, width)
        side = 2 * width + 1
        windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side))
        return mask & ~windows.all(axis=(2, 3))

    one, other = band(gt == class_id), band((pred == class_id) & (gt != 255))
    return [int((one & other).sum()), int((one | other).sum())]


@pytest.mark.parametrize("seed", range(4))
def test_random_blobs_equal_the_paper_class_by_class(seed: int) -> None:
    random = np.random.default_rng(seed)
    values = np.array([0, 1, 2, 3, 255], np.uint8)
    gt, pred = (np.kron(random.choice(values, (4, 6)), np.ones((9, 7), np.uint8)) for _ in "ab")
    width = round(0.05 * np.hypot(36, 42))
    expected = [by_the_paper(gt, pred, class_id, width) for class_id in range(4)]
    assert boundary_overlap(gt, pred, 4, ratio=0.05).tolist() == expected
    wide = boundary_overlap(as_uint16(gt), as_uint16(pred), 300, ratio=0.05)
    assert wide[:4].tolist() == expected


def as_uint16(labels: np.ndarray) -> np.ndarray:
    return np.where(labels == 255, np.uint16(65535), labels.astype(np.uint16))


def test_a_perfect_prediction_is_perfect_around_ignored_pixels() -> None:
    truth = square(40, slice(10, 30), slice(10, 30))
    gt = truth.copy()
    for edge in (9, 10, 29, 30):  # as in VOC: a rim of ignored pixels along the contour
        gt[edge, 9:31] = gt[9:31, edge] = 255
    np.testing.assert_array_equal(iou_of(boundary_overlap(gt, truth, 2, ratio=0.05)), [1, 1])


def test_undecided_pixels_belong_to_no_class() -> None:
    gt = np.ones((10, 10), np.uint8)
    undecided = np.full((10, 10), 255, np.uint8)
    assert boundary_overlap(gt, undecided, 2, ratio=0.1).tolist() == [[0, 0], [0, 36]]


def test_contours_matter_where_areas_do_not() -> None:
    """A rim of one pixel costs the mask a tenth of its area and all of its contour."""
    gt = square(100, slice(20, 80), slice(20, 80))
    pred = square(100, slice(21, 79), slice(21, 79))
    hits, union = boundary_overlap(gt, pred, 2, ratio=0.007)[1]
    assert (hits, union) == (0, 4 * 59 + 4 * 57)


def test_another_size_is_an_error() -> None:
    mask = np.zeros((4, 4), np.uint8)
    with pytest.raises(BadInput, match="cow has 4 x 2 pixels, the true mask 4 x 4"):
        boundary_overlap(mask, mask[:, :2], 2, name="cow")
