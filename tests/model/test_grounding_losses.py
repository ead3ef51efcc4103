"""Losses of train-cam on cases small enough for a sheet of paper."""

import math

import pytest
import torch

from gleclip_cli.model.grounding_losses import (
    area_loss,
    learned_affinity,
    pair_loss,
    presence_loss,
    text_loss,
    variation_loss,
)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_affinity_of_two_groups_of_patches() -> None:
    joined = torch.tensor([[1.0, 0], [5, 0], [0, 2], [0, 0.1]]).reshape(1, 2, 2, 2)
    affinity = learned_affinity(joined)[0]
    alike, other = sigmoid(3 * 0.5), sigmoid(-3 * 0.5)  # the mean cosine is 1/2
    expected = torch.tensor([[alike, alike, other, other]] * 2 + [[other, other, alike, alike]] * 2)
    torch.testing.assert_close(affinity, expected)


def test_pairs_of_a_grid_of_two_by_two() -> None:
    labels = torch.tensor([[[3, 3], [0, 255]]], dtype=torch.uint8)
    affinity = torch.tensor(
        [[[0.9, 0.8, 0.3, 9], [0.7, 0.9, 0.2, 9], [0.1, 0.4, 0.6, 9], [9, 9, 9, 9]]]
    )
    # of one label: itself, three times, and the two of the first row; different: four
    apart = (0.1 + 0.1 + 0.4 + 0.2 + 0.3) / (5 + 1)
    mixed = (0.3 + 0.2 + 0.1 + 0.4) / (4 + 1)
    found = pair_loss(affinity, labels, ignore_index=255)
    assert found.item() == pytest.approx((apart + mixed) / 2)
    both = pair_loss(affinity.repeat(2, 1, 1), labels.repeat(2, 1, 1), ignore_index=255)
    assert both.item() == pytest.approx(found.item())


def test_pairs_end_eight_patches_away() -> None:
    labels = torch.zeros(1, 1, 10, dtype=torch.uint8)
    affinity = torch.ones(1, 10, 10)
    affinity[0, 0, 9] = affinity[0, 9, 0] = -100
    assert pair_loss(affinity, labels, ignore_index=255) == 0
    affinity[0, 0, 8] = 0
    assert pair_loss(affinity, labels, ignore_index=255).item() == pytest.approx(1 / 99 / 2)


def test_nothing_labelled_costs_nothing() -> None:
    labels = torch.full((1, 2, 2), 255, dtype=torch.uint8)
    assert pair_loss(torch.rand(1, 4, 4), labels, ignore_index=255) == 0


def test_presence_is_evidence_against_the_other_texts() -> None:
    logits = torch.tensor([2.0, -1.0, 0.5, 0.5]).reshape(1, 4, 1, 1)  # two classes, two words
    present = torch.tensor([[True, False]])
    rest = 0.5 + math.log(2)
    expected = -(math.log(sigmoid(2 - rest)) + math.log(1 - sigmoid(-1 - rest))) / 2
    assert presence_loss(logits, present).item() == pytest.approx(expected)
    without = -(math.log(sigmoid(2)) + math.log(1 - sigmoid(-1))) / 2
    assert presence_loss(logits[:, :2], present).item() == pytest.approx(without)
    twice = logits.repeat(1, 1, 1, 2)  # both sides gain log 2
    assert presence_loss(twice, present).item() == pytest.approx(expected)


def test_area_counts_absent_classes_only() -> None:
    shares = torch.tensor([[[[0.5, 0.1]], [[0.3, 0.7]], [[0.2, 0.2]]]])
    for present, expected in (([1, 0], 0.2), ([0, 1], 0.5), ([0, 0], 0.7), ([1, 1], 0)):
        loss = area_loss(shares, torch.tensor([present], dtype=torch.bool))
        assert loss.item() == pytest.approx(expected)


def test_variation_is_cheap_at_edges_of_the_picture() -> None:
    shares = torch.zeros(1, 2, 2, 4)
    shares[:, 1, :, 2:] = 1.0
    shares[:, 0] = 1 - shares[:, 1]
    flat = torch.full((1, 3, 4, 8), 0.5)
    edge = flat.clone()
    edge[..., 4:] = 0.9
    # one of three steps in each row, none between rows
    assert variation_loss(shares, flat).item() == pytest.approx(1 / 3)
    assert variation_loss(shares, edge).item() == pytest.approx(1 / 3 / (1 + 10 * 0.4))
    assert variation_loss(shares.transpose(2, 3), flat).item() == pytest.approx(1 / 3)
    assert variation_loss(torch.full((1, 2, 2, 4), 0.5), edge) == 0


def test_each_present_class_is_told_from_other_texts_under_its_map() -> None:
    scores = torch.tensor([[[[2.0, 9]], [[1.0, 9]], [[0.0, 9]]]])  # two classes, one word
    shares = torch.tensor([[[[0.0, 1]], [[1.0, 0]], [[0.0, 0]]]])  # class 1 is on the left pixel
    present = torch.tensor([[True, False]])
    total = math.exp(2) + math.exp(1) + 1
    expected = -math.log(math.exp(2) / total)
    assert text_loss(scores, shares, present).item() == pytest.approx(expected)
    assert text_loss(scores, shares, torch.zeros(1, 2, dtype=torch.bool)) == 0
