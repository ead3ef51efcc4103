"""The one-pass sweep against the naive one: label, count, repeat for every threshold."""

import numpy as np
import pytest

from gleclip_cli.errors import BadInput
from gleclip_cli.metrics.confusion import confusion_of, summarise
from gleclip_cli.metrics.sweep import THRESHOLDS, BackgroundSweep, Peaks, levels_of, peaks_of

NUM_CLASSES = 5
IMAGES = {0: [2], 1: [1, 4], 2: [], 3: [1, 2, 3]}


def image_of(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    class_ids = np.array(IMAGES[seed], dtype=np.int64)
    values = np.array([*range(NUM_CLASSES), 255], dtype=np.uint8)
    gt = rng.choice(values, (23, 19))
    # Many scores lie exactly on a threshold, many on each other.
    scores = rng.choice(np.arange(0, 201) / 200, (len(class_ids), 23, 19)).astype(np.float32)
    return gt, scores, class_ids


def naive_confusion(threshold: np.float32) -> np.ndarray:
    total = np.zeros((NUM_CLASSES, NUM_CLASSES + 1), dtype=np.int64)
    for seed in IMAGES:
        gt, scores, class_ids = image_of(seed)
        with_background = np.concatenate([np.full((1, *gt.shape), threshold), scores])
        ids = np.concatenate([[0], class_ids]).astype(np.uint8)
        total += confusion_of(gt, ids[with_background.argmax(axis=0)], NUM_CLASSES)
    return total


def add(sweep: BackgroundSweep, gt: np.ndarray, peaks: Peaks, num_classes: int) -> None:
    sweep.add(peaks.class_ids, levels_of(gt, peaks, num_classes))


def peaks(scores: np.ndarray, class_ids: np.ndarray) -> Peaks:
    return peaks_of(iter(scores), class_ids, scores.shape[1:])


@pytest.fixture
def swept() -> BackgroundSweep:
    sweep = BackgroundSweep(NUM_CLASSES)
    for seed in IMAGES:
        gt, scores, class_ids = image_of(seed)
        add(sweep, gt, peaks(scores, class_ids), NUM_CLASSES)
    return sweep


@pytest.mark.parametrize("threshold", [0.0, 0.31, 1.0])
def test_labels_at_a_threshold_are_those_of_an_argmax(threshold: float) -> None:
    for seed in IMAGES:
        gt, scores, class_ids = image_of(seed)
        background = np.full((1, *gt.shape), np.float32(threshold))
        places = np.concatenate([background, scores]).argmax(axis=0)
        expected = np.concatenate([[0], class_ids])[places]
        labels = peaks(scores, class_ids).labels(threshold, NUM_CLASSES)
        assert labels.dtype == np.uint8
        np.testing.assert_array_equal(labels, expected)


def test_every_threshold_equals_the_naive_passes(swept: BackgroundSweep) -> None:
    miou = []
    for threshold, found in zip(THRESHOLDS, swept.confusions(), strict=True):
        naive = naive_confusion(threshold)
        assert np.array_equal(found, naive), threshold
        miou.append(summarise(naive).miou)
    result = swept.result()
    np.testing.assert_array_equal(result.miou, miou)
    at = summarise(naive_confusion(THRESHOLDS[40]))
    assert (result.over[40], result.under[40]) == (at.over, at.under)
    assert result.best == int(np.argmax(miou))
    assert result.threshold == round(result.best / 100, 2)


def test_thresholds_are_0_to_1_in_hundredths() -> None:
    assert len(THRESHOLDS) == 101
    assert (THRESHOLDS[0], THRESHOLDS[-1]) == (0, 1)


def test_the_best_threshold_of_a_plain_case() -> None:
    gt = np.array([[0, 1, 1]], dtype=np.uint8)
    scores = np.array([[[0.305, 0.5, 0.9]]], dtype=np.float32)
    sweep = BackgroundSweep(2)
    add(sweep, gt, peaks(scores, np.array([1])), 2)
    result = sweep.result()
    assert result.threshold == pytest.approx(0.31)  # the lowest that is perfect
    assert result.miou[result.best] == 1


def test_another_size_or_class_is_an_error() -> None:
    gt = np.zeros((2, 2), dtype=np.uint8)
    flat, wide = np.zeros((1, 2, 2), np.float32), np.zeros((1, 2, 3), np.float32)
    with pytest.raises(BadInput, match="2 x 3 pixels"):
        levels_of(gt, peaks(wide, np.array([1])), 3)
    with pytest.raises(BadInput, match="class 3"):
        levels_of(gt, peaks(flat, np.array([3])), 3)
    with pytest.raises(BadInput, match="holds 7"):
        levels_of(gt + np.uint8(7), peaks(flat, np.array([1])), 3)


def test_nothing_counted_gives_no_number() -> None:
    assert np.isnan(BackgroundSweep(3).result().miou).all()
