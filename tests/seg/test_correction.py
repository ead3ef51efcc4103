"""Labels corrected by a teacher: only sure ones, only tagged classes, never ignored pixels."""

import torch

from gleclip_cli.seg.correction import Correction
from gleclip_cli.training.average import WeightAverage


class Old(WeightAverage):
    """A mean of a certain age, of nothing."""

    def __init__(self, updates: int) -> None:
        self.updates = updates


TAGS = {"a": [1], "b": [2, 3], "c": []}


def logits_of(labels: list[list[int]], strength: float) -> torch.Tensor:
    """(b, 4, 1, w) with `strength` at the label."""
    return (
        strength * torch.nn.functional.one_hot(torch.tensor(labels), 4).permute(0, 2, 1)[:, :, None]
    )


def test_sure_labels_of_tagged_classes_replace_others():
    correct = Correction(Old(0), TAGS, 0.9, 0)
    masks = torch.tensor([[[0, 0, 1, 1, 255]], [[0, 0, 2, 3, 3]]], dtype=torch.uint8)
    sure = logits_of([[1, 0, 0, 1, 1], [0, 3, 2, 1, 2]], 9.0)
    # class 1 is no tag of b: what is left, is doubtful
    assert correct("ab", sure, masks).tolist() == [[[1, 0, 0, 1, 255]], [[0, 3, 2, 3, 2]]]


def test_no_class_of_a_picture_loses_more_than_half():
    correct = Correction(Old(0), TAGS, 0.9, 0)
    masks = torch.tensor([[[0, 0, 1, 1, 1]], [[1, 0, 255, 0, 0]]], dtype=torch.uint8)
    # one of three ones would be left to a; c has no tags, so that all is background
    sure = logits_of([[0, 1, 0, 0, 1], [0, 0, 0, 0, 0]], 9.0)
    assert correct("ac", sure, masks).tolist() == [[[0, 1, 1, 1, 1]], [[1, 0, 255, 0, 0]]]


def test_doubtful_labels_stay():
    masks = torch.tensor([[[0, 0]]], dtype=torch.uint8)
    logits = logits_of([[1, 0]], 1.0)  # among two classes: sigmoid(1) = .731
    assert Correction(Old(0), TAGS, 0.74, 0)("a", logits, masks).tolist() == [[[0, 0]]]
    assert Correction(Old(0), TAGS, 0.73, 0)("a", logits, masks).tolist() == [[[1, 0]]]


def test_wide_masks_and_what_they_ignore():
    masks = torch.tensor([[[0, 0, 65535]]]).to(torch.uint16)
    found = Correction(Old(0), TAGS, 0.5, 0)("a", logits_of([[1, 0, 1]], 9.0), masks)
    assert found.dtype == torch.uint16
    assert found.tolist() == [[[1, 0, 65535]]]


def test_a_young_teacher_is_not_asked():
    assert [Correction(Old(age), TAGS, 0.5, 5).active for age in (4, 5)] == [False, True]
