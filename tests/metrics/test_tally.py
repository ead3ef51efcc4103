"""Scores of a small set, counted by hand."""

import numpy as np
import pytest

from gleclip_cli.errors import BadInput
from gleclip_cli.metrics.bootstrap import Interval, Intervals
from gleclip_cli.metrics.tally import Counted, Tally, count_image

NAMES = ("background", "cat", "dog", "cow")


def mask(*rows: list[int]) -> np.ndarray:
    return np.array(rows, dtype=np.uint8)


PAIRS = {
    "a": (mask([0, 0, 1, 1]), mask([0, 1, 1, 1])),
    "b": (mask([0, 0, 255, 0]), mask([0, 2, 2, 255])),
    "empty": (mask([255, 255]), mask([0, 1])),
}
INTERVALS = Intervals(Interval(0.5, 0.4, 0.6), (Interval(0.5, 0.1, 0.9),) * 4)


def counted(name: str) -> Counted:
    return count_image(name, *PAIRS[name], 4)


@pytest.fixture
def tally() -> Tally:
    tally = Tally(4)
    assert [tally.add(counted(name)) for name in PAIRS] == [True, True, False]
    return tally


def test_scores_of_two_images_counted_by_hand(tally: Tally) -> None:
    scores = tally.scores(NAMES, INTERVALS)
    assert scores.images == 2
    # background: 2 of 5 true, 2 predicted; cat: 2 of 2 true, 3 predicted; dog: predicted only
    assert scores.per_class_iou == pytest.approx(
        {"background": 2 / 5, "cat": 2 / 3, "dog": 0.0, "cow": None}
    )
    assert scores.miou == pytest.approx((2 / 5 + 2 / 3 + 0) / 3)
    assert scores.extra["miou_foreground"] == pytest.approx((2 / 3 + 0) / 2)
    assert scores.extra["pixel_accuracy"] == pytest.approx(4 / 7)
    assert scores.extra["per_class_precision"] == pytest.approx(
        {"background": 1.0, "cat": 2 / 3, "dog": 0.0, "cow": None}
    )
    assert scores.extra["per_class_recall"]["dog"] is None
    # cat: 3 of union, 1 wrong, none missed; background: union 5, none wrong, 3 missed
    assert scores.extra["per_class_fp"] == pytest.approx(
        {"background": 0.0, "cat": 1 / 3, "dog": 1.0, "cow": None}
    )
    assert scores.extra["per_class_fn"]["background"] == pytest.approx(3 / 5)
    assert scores.extra["fp_foreground"] == pytest.approx((1 / 3 + 1) / 2)
    assert (scores.extra["over_activation"], scores.extra["under_activation"]) == (0.5, 0.0)
    assert scores.extra["miou_interval"] == [0.4, 0.6]
    assert scores.extra["per_class_interval"]["cat"] == [0.1, 0.9]


def test_contours_of_thin_images_are_all_of_them(tally: Tally) -> None:
    """A row of pixels is its own border, so the boundary IoU is the IoU; an ignored one is cut."""
    scores = tally.scores(NAMES, INTERVALS)
    assert scores.extra["per_class_boundary_iou"] == pytest.approx(
        {"background": 2 / 5, "cat": 2 / 3, "dog": 0.0, "cow": None}
    )
    assert scores.extra["boundary_miou"] == pytest.approx(scores.miou)


def test_faults_40_44_45_what_is_odd_is_listed(tally: Tally) -> None:
    facts = tally.scores(NAMES, INTERVALS).extra
    assert facts["undecided_pixels"] == 1
    assert facts["images_all_ignored"] == 1
    assert facts["classes_absent"] == ["cow"]
    assert facts["classes_only_predicted"] == ["dog"]


def test_what_an_image_tells() -> None:
    first, second = counted("a"), counted("b")
    assert first.facts()["miou"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert (first.facts()["pixels"], first.facts()["undecided_pixels"]) == (4, 0)
    assert (second.facts()["pixels"], second.facts()["undecided_pixels"]) == (3, 1)
    assert second.ignored_pixels == 1
    # true, predicted, hits, and both counts of the bands
    assert second.image.counts[[0, 2]].tolist() == [[3, 1, 1, 1, 3], [0, 1, 0, 0, 1]]
    assert second.image.overlap[0].tolist() == [1, 3]
    assert first.image.truth != second.image.truth


def test_nothing_to_score_is_an_error_and_no_number() -> None:
    tally = Tally(4)
    tally.add(counted("empty"))
    with pytest.raises(BadInput, match="no pixel to score"):
        tally.require_pixels()


def by_hand(gt: np.ndarray, pred: np.ndarray, classes: int) -> dict[str, np.ndarray]:
    """All counts per class from sets of pixels, with nothing of the code under test."""
    known = [i for i in range(gt.size) if gt.flat[i] != 255]
    result = {"true": [], "predicted": [], "hits": []}
    for c in range(classes):
        true = {i for i in known if gt.flat[i] == c}
        made = {i for i in known if pred.flat[i] == c}
        for name, found in (("true", true), ("predicted", made), ("hits", true & made)):
            result[name].append(len(found))
    return {name: np.array(values, float) for name, values in result.items()}


def test_fifty_random_pairs_agree_with_sets_of_pixels() -> None:
    """With ignored pixels, classes that are absent, and 255 in predictions."""
    tally, classes = Tally(7), 7
    total = {name: np.zeros(classes) for name in ("true", "predicted", "hits")}
    undecided = 0
    for seed in range(50):
        random = np.random.default_rng(seed)
        held = random.choice(6, random.integers(1, 6), replace=False)  # class 6 is nowhere
        values = np.array([*held, 255], np.uint8)
        size = tuple(random.integers(1, 24, 2))
        gt, pred = random.choice(values, size), random.choice(values, size)
        pred = np.where(random.random(size) < 0.6, gt, pred)
        gt[0, 0] = held[0]
        tally.add(count_image(str(seed), gt, pred, classes))
        for name, counts in by_hand(gt, pred, classes).items():
            total[name] += counts
        undecided += int(((pred == 255) & (gt != 255)).sum())
    true, made, hits = total["true"][:6], total["predicted"][:6], total["hits"][:6]
    names = ("background", *"abcdef")
    scores = tally.scores(names, Intervals(INTERVALS.miou, (INTERVALS.miou,) * 7))
    expected = {
        "per_class_iou": hits / (true + made - hits),
        "per_class_precision": hits / made,
        "per_class_recall": hits / true,
        "per_class_fp": 1 - true / (true + made - hits),
        "per_class_fn": 1 - made / (true + made - hits),
    }
    found = {**scores.extra, "per_class_iou": scores.per_class_iou}
    for name, values in expected.items():
        assert found[name]["f"] is None
        np.testing.assert_allclose([found[name][c] for c in names[:6]], values, rtol=1e-12)
    iou = expected["per_class_iou"]
    assert scores.miou == pytest.approx(iou.mean())
    assert scores.extra["miou_foreground"] == pytest.approx(iou[1:].mean())
    assert scores.extra["frequency_weighted_iou"] == pytest.approx((true * iou).sum() / true.sum())
    assert scores.extra["pixel_accuracy"] == pytest.approx(hits.sum() / true.sum())
    assert scores.extra["over_activation"] == pytest.approx(((made - hits) / hits)[1:].mean())
    assert scores.extra["under_activation"] == pytest.approx(((true - hits) / hits)[1:].mean())
    assert scores.extra["undecided_pixels"] == undecided > 0
    assert scores.images == 50
