"""Losses against hand-computed cases."""

import math

import pytest
import torch

from gleclip_cli.model.losses import balanced_cross_entropy, labels_on_grid, plain_cross_entropy

# One row of four pixels, two classes; logits (0, log 3): probabilities 1/4 and 3/4.
LOGITS = torch.tensor([0.0, math.log(3.0)]).reshape(1, 2, 1, 1).repeat(1, 1, 1, 4)
BACKGROUND_LOSS, FOREGROUND_LOSS = math.log(4.0), math.log(4.0 / 3.0)


def labels(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.uint8).reshape(1, 1, -1)


def test_plain_is_the_mean_over_labelled_pixels():
    loss = plain_cross_entropy(LOGITS, labels(0, 1, 1, 255), ignore_index=255)
    assert loss.item() == pytest.approx((BACKGROUND_LOSS + 2 * FOREGROUND_LOSS) / 3)


def test_fault_42_wide_labels_ignore_65535_and_nothing_else():
    logits = torch.zeros(1, 301, 1, 4)
    logits[0, 255] = math.log(100.0)  # 100 of 400 parts
    wide = torch.tensor([255, 300, 65535, 65535], dtype=torch.uint16).reshape(1, 1, 4)
    plain = plain_cross_entropy(logits, wide, ignore_index=65535)
    assert plain.item() == pytest.approx(math.log(4 * 400) / 2)
    balanced = balanced_cross_entropy(logits, wide, ignore_index=65535)
    assert balanced.item() == pytest.approx(math.log(4 * 400) / 4)


def test_balanced_averages_both_sides_apart():
    loss = balanced_cross_entropy(LOGITS, labels(0, 1, 1, 255), ignore_index=255)
    assert loss.item() == pytest.approx((BACKGROUND_LOSS + FOREGROUND_LOSS) / 2)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0, 0, 255, 255), BACKGROUND_LOSS / 2),
        ((1, 1, 1, 1), FOREGROUND_LOSS / 2),
        ((255, 255, 255, 255), 0.0),
    ],
)
def test_an_empty_side_counts_zero_and_has_a_finite_gradient(values, expected):
    logits = LOGITS.clone().requires_grad_()
    loss = balanced_cross_entropy(logits, labels(*values), ignore_index=255)
    loss.backward()
    assert loss.item() == pytest.approx(expected)
    assert torch.isfinite(logits.grad).all()


def test_all_ignored_is_zero_for_the_plain_loss():
    loss = plain_cross_entropy(LOGITS, labels(255, 255, 255, 255), ignore_index=255)
    assert loss.item() == 0.0


def test_ignored_pixels_have_no_gradient():
    logits = LOGITS.clone().requires_grad_()
    balanced_cross_entropy(logits, labels(0, 1, 255, 255), ignore_index=255).backward()
    assert (logits.grad[..., 2:] == 0).all()
    assert (logits.grad[..., :2] != 0).all()


def test_confidence_weighs_pixels():
    confidence = torch.tensor([0.5, 0.25, 0.75, 1.0]).reshape(1, 1, 4)
    spread = LOGITS.clone()
    spread[0, 1, 0, 1] = 0.0  # pixel 1: probability 1/2
    background = 0.5 * BACKGROUND_LOSS
    foreground = 0.25 * math.log(2.0) + 0.75 * FOREGROUND_LOSS
    loss = plain_cross_entropy(spread, labels(0, 1, 1, 255), confidence, ignore_index=255)
    assert loss.item() == pytest.approx((background + foreground) / 1.5)
    loss = balanced_cross_entropy(spread, labels(0, 1, 1, 255), confidence, ignore_index=255)
    assert loss.item() == pytest.approx((background / 0.5 + foreground / 1.0) / 2)


@pytest.mark.parametrize("loss_of", [plain_cross_entropy, balanced_cross_entropy])
def test_shares_of_a_batch_have_its_loss_as_their_mean(loss_of):
    torch.manual_seed(0)
    logits = torch.randn(4, 3, 5, 5)
    batch = torch.randint(0, 3, (4, 5, 5), dtype=torch.uint8)
    batch[0, :, :4], batch[1] = 255, 0  # shares of unlike counts
    whole = loss_of(logits, batch, ignore_index=255)
    kinds = [batch != 255] if loss_of is plain_cross_entropy else [batch == 0, (batch % 255) > 0]
    means = [kind.sum() / 2.0 for kind in kinds] * 2
    shares = [
        loss_of(logits[s], batch[s], ignore_index=255, mean_count=lambda own: means.pop(0))
        for s in (slice(0, 2), slice(2, 4))
    ]
    assert sum(shares).item() / 2 == pytest.approx(whole.item(), rel=1e-6)
    apart = [loss_of(logits[s], batch[s], ignore_index=255) for s in (slice(0, 2), slice(2, 4))]
    assert sum(apart).item() / 2 != pytest.approx(whole.item(), rel=1e-3)


def test_labels_are_taken_at_the_centre_of_each_cell():
    mask = torch.arange(64, dtype=torch.uint8).reshape(1, 8, 8)
    assert labels_on_grid(mask, torch.empty(1, 3, 2, 2)).tolist() == [[[18, 22], [50, 54]]]
    assert torch.equal(labels_on_grid(mask, torch.empty(1, 3, 8, 8)), mask)
    wide = (mask.int() + 65472).to(torch.uint16)  # fault 42: two bytes, 65535 in the last corner
    assert labels_on_grid(wide, torch.empty(1, 3, 2, 2)).tolist() == [
        [[65490, 65494], [65522, 65526]]
    ]
