"""Which evaluations lead the page, and what a confusion matrix is read as."""

from pathlib import Path

import numpy as np
import pytest

from gleclip_cli.artifacts.tables import Scores
from gleclip_cli.tools.report.scores import (
    Evaluation,
    largest_confusions,
    main_of_each_kind,
    row_shares,
)


def evaluation(what: str, split: str, kind: int) -> Evaluation:
    scores = Scores(0.5, {}, 1)
    return Evaluation(what, split, kind, scores, None, None, {}, Path())


def test_one_of_each_kind_and_val_before_train() -> None:
    maps = [evaluation("cam", "train", 0), evaluation("cam", "val", 0)]
    networks = [evaluation("seg", "train", 2), evaluation("other", "val", 2)]
    assert main_of_each_kind([*maps, *networks]) == [maps[1], networks[0]]
    assert main_of_each_kind([]) == []


def test_largest_confusions() -> None:
    confusion = np.array([[80, 20, 0, 0], [5, 0, 4, 1], [0, 0, 0, 0]])
    assert row_shares(confusion)[1].tolist() == pytest.approx([0.5, 0, 0.4, 0.1])
    named = largest_confusions(confusion, ("bg", "cat", "dog"), most=10)
    assert named == [("cat", "bg", 0.5), ("cat", "dog", 0.4), ("bg", "cat", 0.2)]
