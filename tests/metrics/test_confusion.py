"""The streaming confusion matrix against hand counts and an independent plain count."""

import numpy as np
import pytest

from gleclip_cli.errors import BadInput
from gleclip_cli.metrics.confusion import confusion_of, summarise

GT = np.array([[0, 0, 1], [1, 1, 2], [255, 2, 2]], dtype=np.uint8)
PRED = np.array([[0, 1, 1], [1, 0, 2], [1, 2, 255]], dtype=np.uint8)


def test_a_3x3_case_counted_by_hand() -> None:
    confusion = confusion_of(GT, PRED, 4)
    expected = [
        [1, 1, 0, 0, 0],  # two true background pixels, one taken for class 1
        [1, 2, 0, 0, 0],
        [0, 0, 2, 0, 1],  # one pixel of class 2 left undecided (255): wrong
        [0, 0, 0, 0, 0],
    ]
    assert confusion.tolist() == expected
    scores = summarise(confusion)
    # unions: class 0: 2 + 2 - 1; class 1: 3 + 3 - 2; class 2: 3 + 2 - 2; class 3: empty
    np.testing.assert_allclose(scores.iou, [1 / 3, 2 / 4, 2 / 3, np.nan])
    np.testing.assert_allclose(scores.precision, [1 / 2, 2 / 3, 1, np.nan])
    np.testing.assert_allclose(scores.recall, [1 / 2, 2 / 3, 2 / 3, np.nan])
    assert scores.miou == pytest.approx((1 / 3 + 1 / 2 + 2 / 3) / 3)
    assert scores.miou_foreground == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert scores.pixel_accuracy == pytest.approx(5 / 8)
    assert scores.frequency_weighted_iou == pytest.approx((2 / 3 + 3 / 2 + 2) / 8)


def random_masks(seed: int, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    dtype = np.uint8 if num_classes < 256 else np.uint16
    values = np.array([*range(num_classes), np.iinfo(dtype).max], dtype=dtype)
    return rng.choice(values, (31, 17)), rng.choice(values, (31, 17))


@pytest.mark.parametrize("num_classes", [2, 21, 81, 255, 256, 400])
def test_fault_42_sums_over_images_equal_a_plain_count(num_classes: int) -> None:
    total = np.zeros((num_classes, num_classes + 1), dtype=np.int64)
    plain = np.zeros_like(total)
    for seed in range(3):
        gt, pred = random_masks(seed, num_classes)
        total += confusion_of(gt, pred, num_classes)
        for true, guess in zip(gt.ravel().tolist(), pred.ravel().tolist(), strict=True):
            if true != np.iinfo(gt.dtype).max:
                plain[true, min(guess, num_classes)] += 1
    assert np.array_equal(total, plain)


def test_miou_of_a_set_equals_sets_of_pixels() -> None:
    gt, pred = random_masks(5, 6)
    counted = gt != 255
    ious = [
        (counted & (gt == c) & (pred == c)).sum() / (counted & ((gt == c) | (pred == c))).sum()
        for c in range(6)
    ]
    assert summarise(confusion_of(gt, pred, 6)).miou == pytest.approx(np.mean(ious))


def test_fault_35_another_size_is_an_error() -> None:
    with pytest.raises(BadInput, match="cow has 3 x 2 pixels, the true mask 3 x 3"):
        confusion_of(GT, PRED[:, :2], 4, name="cow")


def test_fault_38_grey_values_are_an_error() -> None:
    grey = np.array([[0, 127, 255]], dtype=np.uint8)
    with pytest.raises(BadInput, match=r"true mask of cow holds 127: not in 0\.\.20 or 255"):
        confusion_of(grey, np.zeros_like(grey), 21, name="cow")


def test_fault_39_true_255_is_not_counted() -> None:
    confusion = confusion_of(GT, PRED, 4)
    assert confusion.sum() == (GT != 255).sum()


def test_fault_40_predicted_255_is_wrong_and_listed() -> None:
    gt = np.ones((2, 2), dtype=np.uint8)
    pred = np.array([[1, 1], [255, 255]], dtype=np.uint8)
    confusion = confusion_of(gt, pred, 2)
    assert confusion[:, -1].sum() == 2
    assert summarise(confusion).iou[1] == pytest.approx(0.5)


@pytest.mark.parametrize("value", [4, 91, 254])
def test_fault_41_unknown_class_is_an_error(value: int) -> None:
    pred = PRED.copy()
    pred[2, 0] = value  # even where the truth is 255
    with pytest.raises(BadInput, match=f"predicted mask of an image holds {value}:"):
        confusion_of(GT, pred, 4)


def test_fault_41_raw_ids_of_coco_are_recognised() -> None:
    raw = np.array([[90, 1]], np.uint8)
    with pytest.raises(BadInput, match=r"holds 90") as caught:
        confusion_of(raw, raw, 81)
    assert "gleclip prepare-data" in caught.value.remedy


def test_masks_of_any_memory_layout_are_counted_alike() -> None:
    """Words of eight bytes begin where memory does, and end before the last pixels."""
    rng = np.random.default_rng(0)
    wide = rng.choice(np.array([0, 1, 2, 255], np.uint8), (2, 21, 33), p=[0.7, 0.1, 0.1, 0.1])
    gt, pred = wide[:, 1:, 3:-1]
    expected = confusion_of(gt.copy(), pred.copy(), 3)
    assert expected.sum() == (gt != 255).sum()
    np.testing.assert_array_equal(confusion_of(gt, pred, 3), expected)
    flat = wide.reshape(2, -1)[:, 5:]  # begins within a word
    by_rows = [mask.reshape(1, -1) for mask in flat]
    np.testing.assert_array_equal(
        confusion_of(*by_rows, 3), confusion_of(*(mask.copy() for mask in by_rows), 3)
    )
    np.testing.assert_array_equal(confusion_of(gt.T, pred.T, 3), expected)


def test_fault_44_a_mask_that_is_all_ignore_gives_no_division_by_zero() -> None:
    confusion = confusion_of(np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.uint8), 3)
    scores = summarise(confusion)
    assert confusion.sum() == 0
    assert np.isnan(scores.miou)
    assert np.isnan(scores.pixel_accuracy)


def test_fault_45_absent_everywhere_is_excluded_absent_from_truth_counts() -> None:
    gt = np.zeros((1, 4), dtype=np.uint8)
    pred = np.array([[0, 0, 1, 1]], dtype=np.uint8)
    scores = summarise(confusion_of(gt, pred, 3))
    np.testing.assert_allclose(scores.iou, [0.5, 0.0, np.nan])
    assert scores.miou == pytest.approx(0.25)
