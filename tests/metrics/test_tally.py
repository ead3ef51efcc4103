"""Scores of a small set, counted by hand."""

import numpy as np
import pytest

from gleclip_cli.errors import BadInput
from gleclip_cli.metrics.tally import Tally

NAMES = ("background", "cat", "dog", "cow")


def mask(*rows: list[int]) -> np.ndarray:
    return np.array(rows, dtype=np.uint8)


@pytest.fixture
def tally() -> Tally:
    tally = Tally(4)
    tally.add("a", mask([0, 0, 1, 1]), mask([0, 1, 1, 1]))
    tally.add("b", mask([0, 0, 255, 0]), mask([0, 2, 2, 255]))
    tally.add("empty", mask([255, 255]), mask([0, 1]))
    return tally


def test_scores_of_two_images_counted_by_hand(tally: Tally) -> None:
    scores = tally.scores(NAMES)
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


def test_faults_40_44_45_what_is_odd_is_listed(tally: Tally) -> None:
    facts = tally.scores(NAMES).extra
    assert facts["undecided_pixels"] == 1
    assert facts["images_all_ignored"] == 1
    assert facts["classes_absent"] == ["cow"]
    assert facts["classes_only_predicted"] == ["dog"]


def test_one_row_per_scored_image(tally: Tally) -> None:
    assert [row["image"] for row in tally.rows] == ["a", "b"]
    first, second = tally.rows
    assert first["miou"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert (first["pixels"], first["undecided_pixels"]) == (4, 0)
    assert (second["pixels"], second["undecided_pixels"]) == (3, 1)


def test_nothing_to_score_is_an_error_and_no_number() -> None:
    tally = Tally(4)
    tally.add("empty", mask([255]), mask([0]))
    with pytest.raises(BadInput, match="no pixel to score"):
        tally.scores(NAMES)
